"""The guarded client against receivers that do their worst, on real sockets."""

import asyncio
import time
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from tests.support.receiver import Receiver, answering, dripping, hanging, receiving, saying

from taskflow.adapters.address import Address, Refused
from taskflow.adapters.fetch import Fetched, Fetcher, Limits
from taskflow.kernel.errors import ExternalError

QUICK = Limits(timeout_s=20.0, body_bytes=1024)
WHOLE = Limits(timeout_s=20.0, body_bytes=1024, whole=True)


class Lying:
    """A resolver that gives another answer each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[Address]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ip_address(text) for text in answer]


async def get(receiver: Receiver, limits: Limits = QUICK, *, fetcher: Fetcher | None = None, url: str = "") -> Fetched:
    fetcher = fetcher or Fetcher(allow_loopback=True)
    return await fetcher.fetch("GET", url or receiver.url, limits=limits)


async def fails(receiver: Receiver, words: str, limits: Limits = QUICK, *, transient: bool = True) -> None:
    with pytest.raises(ExternalError, match=words) as failure:
        await get(receiver, limits)
    assert failure.value.transient is transient
    assert "s3cret" not in str(failure.value)
    assert "/hook" not in str(failure.value)


async def test_an_answer_is_given_whatever_its_status() -> None:
    async with receiving(answering(503, b"later", retry_after="7")) as receiver:
        answer = await get(receiver)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (503, b"later", "7")
    (request,) = receiver.requests
    assert request.path == "/hook?token=s3cret"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["accept-encoding"] == "identity"
    assert "cookie" not in request.headers


@pytest.mark.covers("X-9")
async def test_a_name_is_resolved_once_and_its_checked_address_is_called() -> None:
    """Rebinding: a resolver that answers well at first and badly later is not asked again."""
    resolver = Lying(["127.0.0.1"], ["10.0.0.1"])
    async with receiving(answering(200)) as receiver:
        fetcher = Fetcher(allow_loopback=True, resolve=resolver)
        answer = await get(receiver, fetcher=fetcher, url=f"http://shop.example:{receiver.port}/x")
        assert answer.status == 200
        assert receiver.requests[0].headers["host"] == f"shop.example:{receiver.port}"
        assert resolver.asked == ["shop.example"]
        with pytest.raises(Refused, match="not public") as refusal:
            await get(receiver, fetcher=fetcher, url=f"http://shop.example:{receiver.port}/x")
    assert refusal.value.transient
    assert len(receiver.requests) == 1


@pytest.mark.covers("X-9")
@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["169.254.169.254"]]
)
async def test_a_name_that_leads_inside_is_not_called(answer: Sequence[str]) -> None:
    async with receiving(answering(200)) as receiver:
        fetcher = Fetcher(allow_loopback=False, resolve=Lying(answer))
        with pytest.raises(Refused):
            await get(receiver, fetcher=fetcher, url=f"http://shop.example:{receiver.port}/")
    assert receiver.requests == []


async def test_another_address_of_the_name_is_tried_when_one_is_down() -> None:
    async with receiving(answering(200)) as receiver:
        fetcher = Fetcher(allow_loopback=True, resolve=Lying(["127.0.0.2", "127.0.0.1"]))
        assert (await get(receiver, fetcher=fetcher, url=f"http://shop.example:{receiver.port}/")).status == 200


async def test_a_name_nobody_knows_is_tried_again() -> None:
    async def unknown(_host: str, _port: int) -> Sequence[Address]:
        raise OSError("no such name")

    with pytest.raises(ExternalError, match="cannot be resolved") as failure:
        await Fetcher(allow_loopback=False, resolve=unknown).fetch("GET", "https://shop.example/", limits=QUICK)
    assert failure.value.transient


async def test_a_proxy_of_the_environment_does_not_come_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with receiving(answering(204, b"")) as receiver:
        assert (await get(receiver)).status == 204


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", ["says nothing", "drips a status", "drips headers", "only promises"])
async def test_a_receiver_that_never_comes_to_the_point_ends_at_the_time_limit(behaviour: str) -> None:
    behave = {
        "says nothing": hanging(),
        "drips a status": dripping(b"HTTP/1.1 "),
        "drips headers": dripping(b"HTTP/1.1 200 OK\r\nX-A: "),
        "only promises": saying(b"HTTP/1.1 102 Processing\r\n\r\n" * 3, then_hang=True),
    }[behaviour]
    async with receiving(behave) as receiver:
        began_s = time.monotonic()
        await fails(receiver, "within 0.5 s", Limits(timeout_s=0.5, body_bytes=1024))
        assert time.monotonic() - began_s < 5.0


async def test_a_body_that_drips_does_not_undo_a_status() -> None:
    """The beginning is kept; more of it is not worth waiting for."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nthe first bytes "
    async with receiving(dripping(head)) as receiver:
        answer = await get(receiver, Limits(timeout_s=5.0, body_bytes=40))
    assert answer.status == 200
    assert answer.body.startswith(b"the first bytes x")


async def test_a_large_answer_is_cut_and_the_rest_not_read() -> None:
    async with receiving(answering(200, b"a" * 5_000_000)) as receiver:
        assert (await get(receiver)).body == b"a" * 1024
        await fails(receiver, "more than 1024 bytes", WHOLE, transient=False)


async def test_a_length_that_is_a_lie_is_found_out_when_all_is_wanted() -> None:
    lie = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
    async with receiving(lie) as receiver:
        answer = await get(receiver)
        assert (answer.status, answer.body) == (200, b"short")
        await fails(receiver, "no valid HTTP", WHOLE)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\x00" * 100,
        b"HTTP/1.1 999999 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 40_000,
    ],
    ids=["another protocol", "zeroes", "a strange status", "endless headers"],
)
async def test_what_is_no_http_is_an_error_of_the_other_side(raw: bytes) -> None:
    async with receiving(saying(raw)) as receiver:
        await fails(receiver, "no valid HTTP|broke off")


async def test_a_packed_body_is_not_unpacked() -> None:
    async with receiving(answering(200, b"x", content_encoding="gzip")) as receiver:
        await fails(receiver, "packed", WHOLE, transient=False)


async def test_nobody_listens() -> None:
    async with receiving(answering(200)) as receiver:
        pass
    await fails(receiver, "no connection")


async def test_a_redirect_is_an_answer_like_any_other_unless_some_are_allowed() -> None:
    async with receiving(answering(302, b"", location="/next")) as receiver:
        assert (await get(receiver)).status == 302
    assert len(receiver.requests) == 1


@pytest.mark.covers("X-9")
async def test_a_redirect_that_is_followed_is_checked_like_the_first_url() -> None:
    follow = Limits(timeout_s=2.0, body_bytes=1024, whole=True, redirects=2)
    async with receiving(answering(302, b"", location="/next?x=1"), answering(200, b"here")) as receiver:
        assert (await get(receiver, follow)).body == b"here"
        assert [request.path for request in receiver.requests] == ["/hook?token=s3cret", "/next?x=1"]
    for location, words in (
        ("http://169.254.169.254/latest/meta-data", "not public"),
        ("file:///etc/passwd", "http:// or https://"),
        ("http://user:pass@shop.example/", "user name"),
        ("http://0x7f.1/", "four decimal"),
    ):
        async with receiving(answering(307, b"", location=location)) as receiver:
            with pytest.raises(Refused, match=words):
                await get(receiver, follow)
        assert len(receiver.requests) == 1
    async with receiving(answering(301, b"", location="/again")) as receiver:
        await fails(receiver, "more than 2 times", follow, transient=False)
        assert len(receiver.requests) == 3


async def test_many_calls_at_once_keep_to_themselves() -> None:
    async with receiving(answering(200, b"a"), answering(500, b"b")) as receiver:
        fetcher = Fetcher(allow_loopback=True)
        answers = await asyncio.gather(*(get(receiver, fetcher=fetcher) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [500] * 19


async def test_names_that_do_not_resolve_hold_few_threads_and_keep_nobody_beyond_his_limit() -> None:
    """A look-up cannot be interrupted: what gave up waiting for it still keeps its turn, so that no more are begun."""
    begun: list[str] = []
    ends = asyncio.Event()

    async def slow(host: str, _port: int) -> Sequence[Address]:
        begun.append(host)
        if host.startswith("slow"):
            await ends.wait()
            raise OSError
        return [ip_address("127.0.0.1")]

    fetcher = Fetcher(allow_loopback=True, resolve=slow)
    brief = Limits(timeout_s=0.2, body_bytes=10)
    async with receiving(answering(200)) as receiver:
        calls = [fetcher.fetch("GET", f"http://slow{n}.example/", limits=brief) for n in range(8)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {str(failure) for failure in failures} == {
            f"http://slow{n}.example did not answer within 0.2 s" for n in range(8)
        }
        assert begun == ["slow0.example", "slow1.example"]
        waiting = asyncio.create_task(
            fetcher.fetch("GET", f"http://good.example:{receiver.port}/", limits=QUICK), name="waits for its turn"
        )
        await asyncio.sleep(0)
        ends.set()
        assert (await waiting).status == 200
    assert begun == ["slow0.example", "slow1.example", "good.example"]
