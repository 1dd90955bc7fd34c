"""What `taskflow doctor` reads, and how it tells what the checks say."""

import shutil
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from taskflow.apps.cli.checks import Disk, EngineFacts, Facts, Finding, Level, check_all
from taskflow.apps.cli.output import Output, plural
from taskflow.apps.cli.session import Failure, Place, describe, find_place, make_session, opened
from taskflow.apps.settings import Settings, is_loopback
from taskflow.db.migrate import read_schema
from taskflow.db.pool import DATABASE_ERRORS
from taskflow.db.vitals import Vitals, read_vitals
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.engine.leader import NAME
from taskflow.kernel.errors import SetupError, Unavailable
from taskflow.webhooks.repository import count_failing

STYLES = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
START = "start it, or see that TASKFLOW_DATABASE_URL, the network and the password are right"


async def examine(settings: Settings, data_dir: Path | None, database_url: str | None) -> list[Finding]:
    """
    Run every check that can be run.

    Raises:
        Failure: asked wrongly.
    """
    findings: list[Finding] = []
    try:
        place = find_place(data_dir, database_url)
        findings += check_all(await read_facts(place))
    except Failure:
        raise
    except (SetupError, Unavailable) as error:
        advice = "" if isinstance(error, SetupError) else START
        findings.append(Finding("database", "fail", describe(error), advice))
    except DATABASE_ERRORS as error:
        findings.append(Finding("database", "fail", f"it answered, and then: {describe(error)}", START))
    return [*findings, check_secret(settings), check_mail(settings)]


async def read_facts(place: Place) -> Facts:
    """Read everything that the checks judge. Raises Unavailable or SetupError: the database cannot be used."""
    async with opened(place) as database:
        async with database.acquire() as connection:
            before = datetime.now(UTC)
            vitals = await read_vitals(connection)
            after = datetime.now(UTC)
            schema = await read_schema(connection)
        engine = None
        if schema.fits:
            reader = make_session(place, database, vitals.now).engine
            leader = await reader.find_leader(NAME)
            async with database.acquire() as connection:
                deliveries = await count_failing(connection, DEFAULT_NAMESPACE)
            engine = EngineFacts(
                leader=leader if leader is not None and leader.expires_in_s > 0 else None,
                workers=await reader.list_workers(),
                depths=await reader.queue_depths(),
                dead_letters=await reader.count_dead_letters(DEFAULT_NAMESPACE),
                deliveries=deliveries,
                upkeep=await reader.read_upkeep(),
            )
    return Facts(
        address=place.address,
        vitals=vitals,
        schema=schema,
        skew_s=(vitals.now - before - (after - before) / 2).total_seconds(),
        skew_margin_s=(after - before).total_seconds() / 2,
        disk=find_disk(place, vitals),
        engine=engine,
    )


def find_disk(place: Place, vitals: Vitals) -> Disk | None:
    """Return the disk of the server's data, if the server runs on this machine and lets us know where."""
    if vitals.data_directory is None or not is_loopback(urlsplit(place.url).hostname or "localhost"):
        return None
    try:
        usage = shutil.disk_usage(vitals.data_directory)
    except OSError:  # a tunnel or a container: it is on another machine, or not for us to see
        return None
    return Disk(usage.free, usage.total)


def check_secret(settings: Settings) -> Finding:
    """The root secret, as this shell's environment and data directory have it."""
    if settings.secret_key is not None:
        return Finding("secret key", "ok", "set in the environment")
    path = settings.data_dir / "secret.key"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        own = settings.database_url is not None
        found = f"TASKFLOW_SECRET_KEY is not set here, and there is no {path}"
        if own and not settings.is_development:
            advice = "set it to 32 random bytes or more, the same for every API process; without it none starts"
            return Finding("secret key", "fail", found, advice)
        return Finding("secret key", "warn", found, "`taskflow up` makes one at its first start")
    if mode & 0o077:
        return Finding("secret key", "fail", f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")
    return Finding("secret key", "ok", f"kept in {path}")


def check_mail(settings: Settings) -> Finding:
    """Whether `send_email` reaches anybody, as this shell's environment has it."""
    if settings.smtp_url is not None:
        return Finding("mail", "ok", f"sent through {urlsplit(settings.smtp_url).hostname}")
    found = "no mail server is set here: mails become files below the data directory"
    if settings.is_development:
        return Finding("mail", "ok", found)
    return Finding("mail", "warn", found, "set TASKFLOW_SMTP_URL where workers run")


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what was found."""
    out = Output(datetime.now(UTC))
    counts = Counter(finding.level for finding in findings)
    if as_json:
        checks = [
            {"check": one.check, "level": one.level, "found": one.found, "advice": one.advice or None}
            for one in findings
        ]
        out.json({"ok": not counts["fail"], "checks": checks})
        return
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        out.line(f"{finding.level:<4}  {finding.check:<{width}}  {finding.found}", STYLES[finding.level])
        if finding.advice:
            out.line(f"      {'':<{width}}  {finding.advice}")
    out.line()
    out.line(", ".join(_summary(counts)))


def _summary(counts: Mapping[Level, int]) -> Iterator[str]:
    yield f"{counts.get('ok', 0)} ok"
    if counts.get("warn"):
        yield plural(counts["warn"], "warning")
    if counts.get("fail"):
        yield plural(counts["fail"], "failure")
    if counts.get("skip"):
        yield f"{counts['skip']} skipped"
