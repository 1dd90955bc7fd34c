"""
`python -m tests.contracts.refresh` writes the OpenAPI document and the reference pages anew; look at the difference
before committing it.
"""

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from taskflow.apps.http import create_app
from taskflow.db.pool import Database
from taskflow.http.edge import Edge
from tests.support import reference

SNAPSHOT = Path(__file__).parent / "openapi.json"


def document() -> dict[str, Any]:
    """Return the document of the application; no database is asked."""
    edge = create_app(Database("postgresql://nowhere"), secret=b"x" * 32)
    assert isinstance(edge, Edge)
    app = edge.app
    assert isinstance(app, FastAPI)
    return app.openapi()


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(text())
    for path, page in reference.pages().items():
        path.write_text(page)
