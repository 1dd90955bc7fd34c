"""`taskflow doctor`."""

import typer

from taskflow.apps.cli.session import REFUSED, AsJson, DatabaseUrl, DataDir, ending


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Check that nothing is wrong, and say what to do where something is.

    It looks at the database, the engine's state in it, and the settings as this shell has them, for development or
    production as the `up` is that runs on the data directory; it changes nothing.
    Each check is a line, `ok`, `warn` or `fail`, and below it what to do; `skip` is what cannot be seen from here.

    Exit codes: 0 nothing failed, 1 something did, 2 asked wrongly.

    Examples:

        taskflow doctor
        taskflow doctor --json | jq '.checks[] | select(.level == "fail")'
    """
    with ending():
        import asyncio

        from taskflow.apps.cli.checkup import examine, show
        from taskflow.apps.data_dir import read_settings

        settings = read_settings(data_dir=data_dir, database_url=database_url)

        findings = asyncio.run(examine(settings, data_dir, database_url))
        show(findings, as_json=as_json)
        if any(finding.level == "fail" for finding in findings):
            raise typer.Exit(REFUSED)
