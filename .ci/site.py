"""
What MkDocs is told beyond `mkdocs.yml`: the README is the first page, folders are sections, and links to files that are
not part of the site (code, tests) become plain text, for a site knows no repository to link to.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent

ORDER: list[tuple[str, str]] = [
    ("Quickstart", "quickstart.md"),
    ("Concepts", "concepts"),
    ("How to", "how-to"),
    ("Examples", "examples"),
    ("Operations", "operations"),
    ("Reference", "reference"),
    ("Decisions", "decisions"),
    ("Glossary", "glossary.md"),
    ("Acceptance", "acceptance.md"),
]
FIRST = ["concepts/jobs.md", "concepts/guarantees.md", "concepts/failures.md", "how-to/write-a-job.md"]
GUESTS = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
"""Pages from outside of docs/, and where the site has them."""

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^()\s]+)\)")
FENCE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    docs = Path(config.docs_dir)
    nav: list[dict[str, Any]] = [{"TaskFlow": "index.md"}]
    for title, name in ORDER:
        place = docs / name
        nav.append({title: name if place.is_file() else list(pages_of(docs, place))})
    nav.append({"The project": ["contributing.md", "security.md"]})
    top = {path.relative_to(docs).parts[0] for path in docs.glob("**/*.md")}
    for name in sorted(top - {name for _, name in ORDER}):
        raise PluginError(f"docs/{name} has no place in the navigation: name it in .ci/site.py")
    config.nav = nav
    return config


def pages_of(docs: Path, folder: Path) -> Iterator[str]:
    names = [path.relative_to(docs).as_posix() for path in folder.glob("*.md")]
    yield from sorted(names, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, name in GUESTS.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to where the site has their pages; text is left of those to other files, which have to exist."""
    here = next((source for source, name in GUESTS.items() if name == page.file.src_uri), f"docs/{page.file.src_uri}")

    def place(match: re.Match[str]) -> str:
        file, hash_, anchor = match["target"].partition("#")
        if not file or re.match(r"[a-z]+:", file):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), file))
        name = GUESTS.get(target, target.removeprefix("docs/"))
        if (name != target and files.get_file_from_path(name)) or target in GUESTS:
            start = posixpath.dirname(page.file.src_uri)
            return f"{match['image']}[{match['text']}]({posixpath.relpath(name, start or '.')}{hash_}{anchor})"
        if target.startswith("docs/") and target.endswith(".md"):
            return match[0]  # MkDocs says that there is no such page
        if not (ROOT / target).exists():
            raise PluginError(f"{here}: there is no {target}")
        return match["text"]

    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(place, part) for part in parts[::2]]
    return "".join(parts)
