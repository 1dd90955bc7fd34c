"""`taskflow doctor`."""

import typer

from taskflow.apps.cli.session import REFUSED, AsJson, DatabaseUrl, DataDir, ending
from taskflow.apps.settings import Settings


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Check that nothing is wrong, and say what to do where something is.

    It looks at the database, the engine's state in it, and the settings as this shell has them; it changes nothing.
    Each check is a line, `ok`, `warn` or `fail`, and below it what to do; `skip` is what cannot be seen from here.

    Exit codes: 0 nothing failed, 1 something did, 2 asked wrongly.

    Examples:

        taskflow doctor
        taskflow doctor --json | jq '.checks[] | select(.level == "fail")'
    """
    with ending():
        settings = Settings.from_env(data_dir=data_dir, database_url=database_url)
        import asyncio

        from taskflow.apps.cli.checkup import examine, show

        findings = asyncio.run(examine(settings, data_dir, database_url))
        show(findings, as_json=as_json)
        if any(finding.level == "fail" for finding in findings):
            raise typer.Exit(REFUSED)
