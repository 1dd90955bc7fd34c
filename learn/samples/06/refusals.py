"""The domain says what is wrong; one table says which HTTP status that is."""

from enum import Enum

Code = Enum("Code", {"TASK_NOT_FOUND": 404, "VALIDATION_ERROR": 422})


class Refusal(Exception):
    def __init__(self, code: Code, message: str, **details: object) -> None:
        super().__init__(message)
        self.code, self.details = code, details


def set_priority(task_id: str, priority: int) -> None:
    if not 1 <= priority <= 10:
        raise Refusal(Code.VALIDATION_ERROR, "priority must be 1 to 10", field="priority")
    raise Refusal(Code.TASK_NOT_FOUND, "Task not found", taskId=task_id)


for number in (99, 5):
    try:
        set_priority("a", number)
    except Refusal as refusal:
        print(refusal.code.value, refusal.code.name, "-", refusal, refusal.details)
