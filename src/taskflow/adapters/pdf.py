"""
PDF files from Markdown, by typst: selectable text, outlines and tags, the same bytes for the same document.

The compiler sees one folder, made for the document, with its typst file and its pictures and nothing else; what may
stand in that file is `adapters.typesetting`'s to say. Blocking: call it in a thread or a process.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import typst

from taskflow.adapters.images import normalise
from taskflow.adapters.typesetting import PAGES_LABEL, Markdown, typeset
from taskflow.kernel.errors import Permanent

MAX_PAGES = 500
MAX_IMAGE_SIDE = 2000


@dataclass(frozen=True, slots=True)
class Pdf:
    """A document as a file."""

    content: bytes
    pages: int


def make_pdf(document: Markdown, *, title: str | None, page_size: str, pictures: Mapping[UUID, bytes]) -> Pdf:
    """
    Set *document*.

    Args:
        pictures: the content of each of the document's files; read as `images.resize` reads pictures.

    Raises:
        Permanent: a picture is none, or the document has over `MAX_PAGES` pages.
    """
    with tempfile.TemporaryDirectory(prefix="taskflow-pdf-") as name:
        folder = Path(name)
        names = {}
        for number, (file_id, content) in enumerate(pictures.items(), start=1):
            try:
                picture = normalise(content, max_side=MAX_IMAGE_SIDE)
            except Permanent as error:
                raise Permanent(f"picture {file_id}: {error}") from None
            names[file_id] = f"{number}.{picture.format}"
            (folder / names[file_id]).write_bytes(picture.content)
        source = folder / "main.typ"
        source.write_text(typeset(document, title=title, paper=page_size, images=names), encoding="utf-8")
        none = folder / "none"  # of packages: there is nothing to find, and nowhere to put what would be fetched
        compiler = typst.Compiler(
            str(source), root=str(folder), package_path=str(none), package_cache_path=str(none / "cache")
        )
        try:
            pages = int(compiler.query(f"<{PAGES_LABEL}>", field="value", one=True))
            if pages > MAX_PAGES:
                raise Permanent(f"the document has {pages} pages, over the limit of {MAX_PAGES}")
            made = compiler.compile(format="pdf", timestamp=0)
        except typst.TypstError as error:
            raise Permanent(f"the document cannot be set: {str(error).splitlines()[0][:200]}") from None
    assert isinstance(made, bytes), "without a place to write it to, it is returned"
    return Pdf(made, pages)
