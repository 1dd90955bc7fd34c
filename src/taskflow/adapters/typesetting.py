"""
Markdown as typst's own code, in which nothing of the text can be code.

Typst has a language: a document could read files, fetch packages or run for ever. So the text never meets its parser
as markup. Every character that a writer sent ends up inside a string literal (`_string`), structure is calls of a few
functions named here, and what they are given besides is numbers and words from lists of ours:

    # A *b*   →   heading(level: 1, {[]; "A "; emph({[]; "b"})})

HTML is text like any other. A link keeps its target if that is http, https or mailto. A picture names a TaskFlow file,
by id, and is put where it stands by whoever calls (`image_ids`, `typeset`); any other source is refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from markdown_it import MarkdownIt
from markdown_it.token import Token

from taskflow.kernel.errors import Permanent

MAX_BLOCKS = 20_000
MAX_SPANS, MAX_SPANS_IN_ALL = 5_000, 50_000  # of a paragraph: breaking one into lines costs its square
MAX_CODE_LINES = 10_000
MAX_COLUMNS = 20
MAX_NESTING = 20
MAX_IMAGES = 50
PAPERS: Mapping[str, str] = {"a3": "a3", "a4": "a4", "a5": "a5", "letter": "us-letter", "legal": "us-legal"}
PAGES_LABEL = "pages"
_LINK_SCHEMES = {"http", "https", "mailto"}
_LANGUAGE = re.compile(r"[A-Za-z0-9+#_-]{1,20}")
_ALIGN = {"text-align:left": "left", "text-align:center": "center", "text-align:right": "right"}
_IMAGE_PREFIX = "taskflow:"

_PREAMBLE = """\
#set page(paper: {paper}, margin: (x: 2.2cm, y: 2.4cm), numbering: "1 / 1")
#set document(title: {title}, date: none)
#set text(size: 10.5pt, hyphenate: true)
#set par(justify: false, leading: 0.65em, spacing: 1.1em)
#show heading: set block(above: 1.5em, below: 0.8em)
#show link: set text(fill: rgb("#1a56b0"))
#show raw.where(block: true): it => block(
  width: 100%, fill: luma(245), inset: 8pt, radius: 3pt, text(size: 8.5pt, it)
)
#show quote.where(block: true): it => block(
  inset: (left: 10pt, y: 2pt), stroke: (left: 2pt + luma(190)), it.body
)
#set table(stroke: 0.5pt + luma(170), inset: 5pt)
#show table.cell.where(y: 0): set text(weight: "bold")
"""


@dataclass(frozen=True, slots=True)
class Markdown:
    """A parsed document."""

    tokens: Sequence[Token]
    image_ids: Sequence[UUID]  # of TaskFlow files, each once, in order


def parse(text: str) -> Markdown:
    """
    Parse CommonMark with tables and strike-through.

    Raises:
        Permanent: something of it is over a limit, which is named, or a picture is no TaskFlow file.
    """
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    spans = [len(token.children or ()) for token in tokens]
    _check("the document has {} blocks", sum(token.nesting >= 0 for token in tokens), MAX_BLOCKS)
    _check("a paragraph has {} pieces", max(spans, default=0), MAX_SPANS)
    _check("the document has {} pieces of text", sum(spans), MAX_SPANS_IN_ALL)
    _check("the document has {} lines of code", sum(_code_lines(token) for token in tokens), MAX_CODE_LINES)
    found: dict[UUID, None] = {}
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                found[_image_id(child, token)] = None
    _check("the document has {} pictures", len(found), MAX_IMAGES)
    return Markdown(tokens, list(found))


def typeset(document: Markdown, *, title: str | None, paper: str, images: Mapping[UUID, str]) -> str:
    """
    Return *document* as a typst file.

    Args:
        paper: one of `PAPERS`.
        images: the name of a file beside the typst file for each of the document's pictures.
    """
    writer = _Writer(images)
    body = writer.blocks(list(document.tokens))
    heading = "" if title is None else f'#align(center, text(size: 18pt, weight: "bold", {_string(title)}))\n'
    head = _PREAMBLE.format(paper=_string(PAPERS[paper]), title="none" if title is None else _string(title))
    end = f"\n#context [#metadata(counter(page).final().first()) <{PAGES_LABEL}>]\n"
    return f"{head}{heading}#{body}{end}"


class _Writer:
    """Turns tokens into expressions. Each method takes the tokens of one piece and returns code for content."""

    def __init__(self, images: Mapping[UUID, str]) -> None:
        self._images = images

    def blocks(self, tokens: list[Token]) -> str:
        written = []
        index = 0
        while index < len(tokens):
            end = _end_of(tokens, index)
            written.append(self._block(tokens[index], tokens[index + 1 : end]))
            index = end + 1
        return _content(written)

    def _block(self, token: Token, inside: list[Token]) -> str:
        match token.type:
            case "heading_open":
                return f"heading(level: {int(token.tag[1:])}, {self.blocks(inside)})"
            case "paragraph_open":
                return self.blocks(inside) if token.hidden else f"par({self.blocks(inside)})"
            case "inline":
                return self.inline(list(token.children or ()))
            case "bullet_list_open":
                return f"list({self._items(inside)})"
            case "ordered_list_open":
                start = int(token.attrGet("start") or 1)
                return f"enum(start: {min(start, 999_999_999)}, {self._items(inside)})"
            case "blockquote_open":
                return f"quote(block: true, {self.blocks(inside)})"
            case "fence" | "code_block":
                words = token.info.split()
                language = words[0] if words and _LANGUAGE.fullmatch(words[0]) else ""
                given = f", lang: {_string(language)}" if language else ""
                return f"raw({_string(token.content.rstrip(chr(10)))}, block: true{given})"
            case "hr":
                return "line(length: 100%, stroke: 0.5pt + luma(150))"
            case "table_open":
                return self._table(inside)
            case kind:
                raise AssertionError(f"no rule for {kind}")

    def _items(self, tokens: list[Token]) -> str:
        items = []
        index = 0
        while index < len(tokens):
            end = _end_of(tokens, index)
            items.append(self.blocks(tokens[index + 1 : end]))
            index = end + 1
        return ", ".join(items)

    def _table(self, tokens: list[Token]) -> str:
        head: list[str] = []
        cells: list[str] = []
        aligns: list[str] = []
        for index, token in enumerate(tokens):
            if token.type not in {"th_open", "td_open"}:
                continue
            cell = self.blocks(tokens[index + 1 : _end_of(tokens, index)])
            if token.type == "th_open":
                head.append(cell)
                aligns.append(_ALIGN.get(str(token.attrGet("style")), "left"))
            else:
                cells.append(cell)
        _check("a table has {} columns", len(head), MAX_COLUMNS)
        rows = f"table.header({', '.join(head)}), {', '.join(cells)}"
        return f"table(columns: {len(head)}, align: ({', '.join(aligns)},), {rows})"

    def inline(self, tokens: list[Token]) -> str:
        written = []
        index = 0
        while index < len(tokens):
            end = _end_of(tokens, index)
            written.append(self._span(tokens[index], tokens[index + 1 : end]))
            index = end + 1
        return _content(written)

    def _span(self, token: Token, inside: list[Token]) -> str:
        match token.type:
            case "text" | "html_inline":
                return _string(token.content)
            case "softbreak":
                return '" "'
            case "hardbreak":
                return "linebreak()"
            case "code_inline":
                return f"raw({_string(token.content)})"
            case "em_open":
                return f"emph({self.inline(inside)})"
            case "strong_open":
                return f"strong({self.inline(inside)})"
            case "s_open":
                return f"strike({self.inline(inside)})"
            case "link_open":
                target = str(token.attrGet("href"))
                body = self.inline(inside)
                return f"link({_string(target)}, {body})" if _is_link(target) else body
            case "image":
                name = self._images[_image_id(token, token)]
                return f"box(image({_string(name)}, alt: {_string(token.content)}))"  # alone it would be a block
            case kind:
                raise AssertionError(f"no rule for {kind}")


def escape_markdown(text: str) -> str:
    """Return Markdown that shows *text* as it is, on one line."""
    flat = " ".join(text.split())
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", flat)


def _check(says: str, count: int, limit: int) -> None:
    if count > limit:
        raise Permanent(f"{says.format(count)}, over the limit of {limit}")


def _code_lines(token: Token) -> int:
    return token.content.count("\n") if token.type in {"fence", "code_block"} else 0


def _end_of(tokens: Sequence[Token], index: int) -> int:
    """Return where what opens at *index* closes; *index* itself where nothing opens."""
    depth = 0
    for end in range(index, len(tokens)):
        depth += tokens[end].nesting
        if depth == 0:
            return end
    raise AssertionError("a token opens and never closes")


def _content(parts: Sequence[str]) -> str:
    """Return code that joins *parts*; content even where there are none."""
    return "{[]; " + "; ".join(parts) + "}"


def _string(text: str) -> str:
    """Return *text* as a string literal, the only place where a writer's characters occur."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{{{ord(char):x}}}"


def _is_link(target: str) -> bool:
    try:
        return urlsplit(target).scheme.lower() in _LINK_SCHEMES
    except ValueError:
        return False


def _image_id(token: Token, place: Token) -> UUID:
    source = str(token.attrGet("src") or "")
    try:
        return UUID(source.removeprefix(_IMAGE_PREFIX))
    except ValueError:
        line = f" in line {place.map[0] + 1}" if place.map else ""
        raise Permanent(
            f"the picture {source[:100]!r}{line} is no TaskFlow file; upload it and write ![…](taskflow:<file id>)"
        ) from None
