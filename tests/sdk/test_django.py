"""Submits in Django's transactions, as docs/how-to/submit-in-your-transaction.md shows it, on real PostgreSQL."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import django
import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections, models, transaction
from psycopg.conninfo import conninfo_to_dict
from tests.support.reference import ROOT

from taskflow import JobFunction, State, TaskFlow
from taskflow.engine.notifier import WAKE_CHANNEL

PAGE = ROOT / "docs/how-to/submit-in-your-transaction.md"

DATABASES = {
    "default": {"ENGINE": "django.db.backends.postgresql"},
    "lite": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
settings.configure(DATABASES=DATABASES, LOGGING_CONFIG=None)
django.setup()


class Order(models.Model):  # type: ignore[misc]  # Django has no types
    """An order, as the page has one."""

    item = models.TextField()

    class Meta:
        app_label = "shop"


@pytest.fixture
def database(database_url: str) -> Iterator[str]:
    """The test's database as Django's, with a table for orders."""
    at = conninfo_to_dict(database_url)
    connections["default"].settings_dict.update(
        HOST=at["host"], PORT=at["port"], USER=at["user"], PASSWORD=at["password"], NAME=at["dbname"]
    )
    with connection.schema_editor() as editor:
        editor.create_model(Order)
    yield database_url
    with connection.schema_editor() as editor:
        editor.delete_model(Order)
    connection.close()


@pytest.fixture
def confirm(database: str) -> Iterator[JobFunction[[int], None]]:
    app = TaskFlow(database)

    @app.job("confirm", queue="orders")
    def confirm(order_id: int) -> None: ...

    yield confirm
    app.close_sync()


@pytest.fixture
def sample(confirm: JobFunction[[int], None]) -> Callable[[], Any]:
    """The page's own lines; returns what they have bound."""
    [code] = re.findall(r"(?ms)^```python\n(with transaction\.atomic\(\):\n.*?)^```$", PAGE.read_text())

    def run() -> Any:
        names = {"transaction": transaction, "connection": connection, "Order": Order, "confirm": confirm}
        exec(code, names)
        return names

    return run


@pytest.fixture
def woken(database: str) -> Iterator[Callable[[], list[str]]]:
    """The queues that workers were woken for since the last look."""
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute(f"LISTEN {WAKE_CHANNEL}")

        def look() -> list[str]:
            listener.execute("SELECT pg_notify(%s, 'the end')", [WAKE_CHANNEL])  # comes after what was sent before
            return list(iter(lambda: next(listener.notifies(timeout=20)).payload, "the end"))

        yield look


def payloads(url: str) -> list[dict[str, Any]]:
    with psycopg.connect(url) as other:
        return [payload for (payload,) in other.execute("SELECT payload FROM taskflow.job ORDER BY id")]


def test_the_pages_sample_stores_order_and_job_together_and_wakes_workers_after_the_commit(
    sample: Callable[[], Any], woken: Callable[[], list[str]], database: str
) -> None:
    with transaction.atomic():  # as ATOMIC_REQUESTS has one around a view
        order = sample()["order"]
        assert payloads(database) == []
        assert woken() == []
    assert payloads(database) == [{"order_id": order.id}]
    assert woken() == ["orders"]
    assert Order.objects.get().item == "lamp"


def test_an_order_that_is_rolled_back_has_no_job_and_wakes_nobody(
    sample: Callable[[], Any], woken: Callable[[], list[str]], database: str
) -> None:
    with suppress(LookupError), transaction.atomic():
        sample()
        raise LookupError
    with transaction.atomic(), suppress(LookupError), transaction.atomic():  # the inner one is a savepoint
        sample()
        raise LookupError
    assert payloads(database) == []
    assert not Order.objects.exists()
    assert woken() == []


def test_without_a_transaction_a_job_is_stored_at_once(
    confirm: JobFunction[[int], None], woken: Callable[[], list[str]]
) -> None:
    handle = confirm.options(connection=connections["default"], unique_key="7").enqueue_sync(7)
    assert handle.status_sync() is State.PENDING
    assert woken() == ["orders"]
    again = confirm.options(connection=connection, unique_key="7").enqueue_sync(7)
    assert (again.job_id, handle.duplicate, again.duplicate) == (handle.job_id, False, True)


def test_a_transaction_that_django_does_not_end_wakes_nobody(
    confirm: JobFunction[[int], None], woken: Callable[[], list[str]], database: str
) -> None:
    transaction.set_autocommit(False)
    try:
        confirm.options(connection=connection).enqueue_sync(1)
        transaction.rollback()
        confirm.options(connection=connection).enqueue_sync(2)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert payloads(database) == [{"order_id": 2}]
    assert woken() == []


def test_the_connection_of_psycopg_inside_django_carries_jobs_too(
    confirm: JobFunction[[int], None], database: str
) -> None:
    with transaction.atomic():
        confirm.options(connection=connection.connection).enqueue_sync(3)
        assert payloads(database) == []
    assert payloads(database) == [{"order_id": 3}]


def test_a_connection_of_djangos_to_something_else_is_refused(confirm: JobFunction[[int], None]) -> None:
    with pytest.raises(TypeError, match=r"none that can carry jobs; known are .* django\.db\.connection of PostgreSQL"):
        confirm.options(connection=connections["lite"]).enqueue_sync(1)
