"""Typed arguments of a job function: the schema that the API checks by, both directions, and what is refused."""

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import msgspec
import pytest
from jsonschema_rs import validator_for
from msgspec import Meta
from pydantic import BaseModel, Field

from taskflow import Invalid, JobContext, Retry, TaskFlow
from taskflow.engine.payload import PayloadSchema


class Fit(Enum):
    COVER = "cover"
    EXACT = "exact"


@dataclass
class Size:
    width: Annotated[int, Meta(ge=1, le=8000)]
    height: int


class Point(TypedDict):
    x: int
    y: int


class Box(msgspec.Struct):
    corner: Point
    size: Size


class Line(BaseModel):
    sku: str
    pieces: int = Field(ge=1, alias="count")
    due: datetime | None = None


class Order(BaseModel):
    lines: list[Line]


@pytest.fixture
def app() -> TaskFlow:
    return TaskFlow()


def arguments(app: TaskFlow) -> Any:
    @app.job("resize")
    async def resize(
        ctx: JobContext,
        source: str,
        size: Size,
        *,
        fit: Fit = Fit.COVER,
        mode: Literal["fast", "good"] = "good",
        boxes: list[Box] = [],  # noqa: B006
        tags: list[str] = ["new"],  # noqa: B006
        at: datetime | None = None,
        owner: UUID | None = None,
        within: timedelta = timedelta(0),
    ) -> str | Retry:
        return source

    return resize.arguments


def test_the_schema_says_what_the_types_say(app: TaskFlow) -> None:
    arguments(app)
    schema: Any = app.registry["resize"].info.schema
    definition = schema["$defs"]["resize"]
    assert definition["required"] == ["source", "size"]
    assert definition["additionalProperties"] is False
    assert list(definition["properties"]) == [
        *("source", "size", "fit", "mode", "boxes", "tags", "at", "owner", "within")
    ]
    assert definition["properties"]["mode"] == {"enum": ["fast", "good"], "default": "good"}


def test_arguments_go_to_json_and_come_back_as_their_types(app: TaskFlow) -> None:
    resize = arguments(app)
    given = {
        "source": "a.png",
        "size": Size(640, 480),
        "fit": Fit.EXACT,
        "boxes": [Box({"x": 1, "y": 2}, Size(3, 4))],
        "at": datetime.fromisoformat("2026-01-02T03:04:05+00:00"),
        "owner": UUID(int=5),
        "within": timedelta(minutes=2),
    }
    payload = resize.encode((), given)
    assert payload["size"] == {"width": 640, "height": 480}
    assert payload["at"] == "2026-01-02T03:04:05Z"
    decoded = resize.decode(app.registry["resize"].decode(msgspec.json.encode(payload).decode()))
    assert {name: decoded[name] for name in given} == given
    assert (decoded["mode"], decoded["tags"]) == ("good", ["new"])


def test_a_default_that_can_change_is_not_shared_between_calls(app: TaskFlow) -> None:
    resize = arguments(app)
    decode = app.registry["resize"].decode
    payload = '{"source": "a", "size": {"width": 1, "height": 1}}'
    resize.decode(decode(payload))["tags"].append("changed")
    assert resize.decode(decode(payload))["tags"] == ["new"]


@pytest.mark.parametrize(
    ("given", "pointer", "words"),
    [
        ({"size": Size(0, 1)}, "/size/width", "expected `int` >= 1"),
        ({"size": {"width": 1}}, "/size/height", "is required"),
        ({"size": Size(1, 1), "boxes": [{"corner": {"x": "a", "y": 1}}]}, "/boxes/0/corner/x", "expected `int`"),
        ({"size": Size(1, 1), "fit": "loose"}, "/fit", "invalid enum value 'loose'"),
        ({"size": Size(1, 1), "tags": [1]}, "/tags/0", "expected `str`, got `int`"),
        ({"size": Size(1, 1), "at": "yesterday"}, "/at", "invalid RFC3339 encoded datetime"),
        ({"size": Size(1, 1), "source": object()}, "/source", "cannot be written as JSON"),
        ({"size": Size(1, 1), "source": "twice"}, None, None),
    ],
)
def test_a_wrong_argument_is_named_down_to_its_place(
    app: TaskFlow, given: dict[str, Any], pointer: str | None, words: str | None
) -> None:
    resize = arguments(app)
    if pointer is None:
        with pytest.raises(Invalid, match="source is given twice"):
            resize.encode(("a.png",), given)
        return
    with pytest.raises(Invalid) as caught:
        resize.encode((), {"source": "a.png", **given})
    [error] = caught.value.errors
    assert error.pointer == pointer
    assert words is not None
    assert words in error.detail


def test_more_positional_arguments_than_there_are_is_said(app: TaskFlow) -> None:
    resize = arguments(app)
    with pytest.raises(Invalid, match="takes 2 arguments by position, got 3"):
        resize.encode(("a.png", Size(1, 1), Fit.COVER), {})


def test_a_function_that_cannot_be_a_job_is_refused_where_it_is_declared(app: TaskFlow) -> None:
    def bare(number) -> None: ...  # type: ignore[no-untyped-def]
    def star(*numbers: int) -> None: ...
    def only(number: int, /) -> None: ...
    def socket(thing: TaskFlow) -> None: ...
    def gives() -> TaskFlow:
        return app

    for function, words in (
        (bare, "parameter 'number' needs a type annotation"),
        (star, "parameter 'numbers' must be an ordinary one"),
        (only, "parameter 'number' must be an ordinary one"),
        (socket, "parameter 'thing' is of a type that JSON cannot carry"),
        (gives, "the return value is of a type that JSON cannot carry"),
    ):
        with pytest.raises(TypeError, match=f"job '{function.__name__}': {words}"):
            app.job()(function)
    assert app.jobs == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": 11}, "retries must be from 0 to 10, got 11"),
        ({"timeout_s": 0}, "timeout_s must be from 1 to 86400000 ms, got 0"),
        ({"queue": "a b"}, "queue must be 1 to 100 characters"),
        ({"kind": ""}, "kind must be 1 to 100 characters"),
        ({"isolation": "asyncio"}, "a sync handler would block the event loop"),
        ({"isolation": "thread", "memory_limit_mb": 512}, "memory_limit_mb needs isolation='process'"),
    ],
)
def test_a_job_with_limits_that_no_job_can_have_is_refused(app: TaskFlow, options: dict[str, Any], words: str) -> None:
    def noop() -> None: ...

    with pytest.raises(ValueError, match=words):
        app.job(**options)(noop)


def test_two_jobs_cannot_share_a_kind(app: TaskFlow) -> None:
    def noop() -> None: ...

    app.job("same")(noop)
    with pytest.raises(ValueError, match="kind 'same' is registered twice"):
        app.job("same")(noop)


@pytest.mark.parametrize("name", ["send_email", "EMAIL", "report", "deliver_webhook"])
def test_a_name_that_is_built_in_is_nobody_else_s(app: TaskFlow, name: str) -> None:
    async def noop() -> None: ...

    with pytest.raises(ValueError, match=f"'{name}' is the name of a built-in kind: give the job another"):
        app.job(name)(noop)


def test_a_lifespan_is_one_async_generator(app: TaskFlow) -> None:
    async def opened() -> Any: ...

    with pytest.raises(TypeError, match="a lifespan is an async function that yields once"):
        app.lifespan(opened)  # type: ignore[arg-type]


def order_arguments(app: TaskFlow) -> Any:
    @app.job("ship")
    async def ship(order: Order, more: list[Order] = [], gift: Line | None = None) -> Order:  # noqa: B006
        return order

    return ship.arguments


def test_models_of_pydantic_travel_as_json_and_arrive_as_models(app: TaskFlow) -> None:
    arguments = order_arguments(app)
    order = Order(lines=[Line(sku="lamp", count=2, due=datetime(2026, 1, 2, tzinfo=UTC))])
    payload = arguments.encode([order], {"more": [order], "gift": Line(sku="pen", count=1)})
    assert payload["order"] == {"lines": [{"sku": "lamp", "count": 2, "due": "2026-01-02T00:00:00Z"}]}
    text = msgspec.json.encode(payload).decode()
    given = arguments.decode(app.registry["ship"].decode(text))
    assert given == {"order": order, "more": [order], "gift": Line(sku="pen", count=1)}


def test_the_schema_of_models_says_what_fits(app: TaskFlow) -> None:
    order_arguments(app)
    check = validator_for(dict(app.registry["ship"].info.schema))
    assert check.is_valid({"order": {"lines": [{"sku": "lamp", "count": 2}]}, "gift": {"sku": "pen", "count": 1}})
    assert not check.is_valid({"order": {"lines": [{"sku": "lamp", "count": 0}]}})
    assert not check.is_valid({"order": {"lines": []}, "more": [{"lines": [{"sku": 5, "count": 1}]}]})


def test_what_a_model_refuses_is_named_by_its_place(app: TaskFlow) -> None:
    wrong = {"lines": [{"sku": "lamp", "count": 1}, {"sku": 5, "count": 0}]}
    with pytest.raises(Invalid) as caught:
        order_arguments(app).encode([], {"order": wrong, "more": [wrong]})
    assert [error.pointer for error in caught.value.errors] == [
        "/order/lines/1/sku",
        "/order/lines/1/count",
        "/more/0/lines/1/sku",
        "/more/0/lines/1/count",
    ]


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        ({"lines": [{"count": 1}]}, {"/order/lines/0/sku": "required"}),
        ({}, {"/order/lines": "required"}),
        (5, {"/order": "wrong_type"}),
        (
            {"lines": [{"sku": 5, "count": 0}]},
            {"/order/lines/0/sku": "wrong_type", "/order/lines/0/count": "out_of_range"},
        ),
    ],
)
def test_what_a_model_misses_has_the_code_that_the_api_gives_it(
    app: TaskFlow, given: object, codes: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as caught:
        order_arguments(app).encode([], {"order": given})
    assert {error.pointer: error.code for error in caught.value.errors} == codes
    if codes.get("/order") is None:
        checked = PayloadSchema(app.registry["ship"].info.schema).errors_of({"order": given})  # type: ignore[dict-item]
        assert {error.pointer.removeprefix("/payload"): error.code for error in checked} == codes
    assert not any("body" in error.detail for error in caught.value.errors)


def test_what_a_dataclass_or_typed_dict_misses_has_the_code_that_the_api_gives_it(app: TaskFlow) -> None:
    given = {"size": {"width": 1}, "source": "a", "boxes": [{"corner": {"x": 1}, "size": {"width": 1, "height": 1}}]}
    with pytest.raises(Invalid) as caught:
        arguments(app).encode((), given)
    codes = {error.pointer: error.code for error in caught.value.errors}
    assert codes == {"/size/height": "required", "/boxes/0/corner/y": "required"}
    checked = PayloadSchema(app.registry["resize"].info.schema).errors_of(given)  # type: ignore[arg-type]
    assert {error.pointer.removeprefix("/payload"): error.code for error in checked} == codes


def test_the_library_is_not_loaded_for_jobs_without_models() -> None:
    script = "import sys; from taskflow.apps.sdk import models, arguments; sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})
