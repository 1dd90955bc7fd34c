"""What handlers work with: the parts of the server, made once and handed to every route."""

from dataclasses import dataclass

from taskflow_learn.config import Settings
from taskflow_learn.errors import Code, Refusal
from taskflow_learn.http.request import Request
from taskflow_learn.log import Logger
from taskflow_learn.memory import Memory
from taskflow_learn.tasks.model import Task
from taskflow_learn.tasks.store import TaskStore
from taskflow_learn.websocket.hub import Hub
from taskflow_learn.workers.pool import WorkerPool


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    log: Logger
    store: TaskStore
    hub: Hub
    memory: Memory
    workers: WorkerPool  # of the CPU demos
    reports: WorkerPool

    def announce(self, event: str, task: Task | None, task_id: str, request: Request) -> None:
        """Tell the log, the history and the sockets that a task was created, updated or deleted."""
        operation = event.removeprefix("task.")
        status = task.status if task else None
        self.log.info("Task operation", requestId=request.id, operation=operation, taskId=task_id, status=status)
        self.memory.remember_event(event, task_id)
        self.hub.announce(event, task.to_json() if task else {"id": task_id}, request.id)

    def check_lesson(self, lesson: str) -> None:
        """Raise `Refusal` 403 unless *lesson*, which hurts on purpose, is switched on."""
        if lesson not in self.settings.lessons:
            message = f"the lesson {lesson} is switched off here; LESSONS={lesson} switches it on"
            raise Refusal(Code.FORBIDDEN, message, {"lesson": lesson, "setting": "LESSONS"})


def make_services(settings: Settings, log: Logger) -> Services:
    """Build the parts. Nothing runs yet."""
    return Services(
        settings=settings,
        log=log,
        store=TaskStore(limit=settings.task_limit),
        hub=Hub(heartbeat_s=settings.ws_heartbeat_ms / 1000),
        memory=Memory(settings),
        workers=WorkerPool(
            "worker",
            log,
            size=settings.worker_pool_size,
            queue_limit=settings.worker_queue_limit,
            timeout_ms=settings.worker_job_timeout_ms,
            history_limit=settings.job_history_limit,
        ),
        reports=WorkerPool(
            "report",
            log,
            size=settings.report_pool_size,
            queue_limit=settings.report_queue_limit,
            timeout_ms=settings.report_job_timeout_ms,
            history_limit=settings.job_history_limit,
        ),
    )
