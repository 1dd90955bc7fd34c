"""`generate_pdf`: what Markdown becomes, and what of it never becomes code."""

import io
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema_rs
import msgspec
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.handlers.running import Bench
from tests.handlers.test_image import picture, png_of

from taskflow.adapters.pdf import MAX_PAGES, make_pdf
from taskflow.adapters.typesetting import escape_markdown, parse, typeset
from taskflow.db.pool import Database
from taskflow.handlers import pdf
from taskflow.handlers.forced import ForcedFailure
from taskflow.kernel.errors import Permanent
from taskflow.kinds.pdf import PAYLOAD

DOCUMENT = """\
# Invoice *42*

Dear **Ada**, it costs ~~10~~ `12` euros; see [the site](https://example.org/a?b=c).\\
Yours.

- one
  1. two
     - three
- four

| item | price |
|:-----|------:|
| tea  |  1.20 |
| a\\|b |  2.00 |

```python
print("hello")  # not a heading
```

> quoted
> > twice

---

Last line.
"""


def read(content: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(content))


def text_of(content: bytes) -> str:
    """All text that can be selected, with every run of white space as one blank."""
    return " ".join(" ".join(page.extract_text() for page in read(content).pages).split())


def made_of(markdown: str, **options: Any) -> bytes:
    return make_pdf(parse(markdown), **{"title": None, "page_size": "a4", "pictures": {}, **options}).content


@pytest.fixture
def bench(database: Database) -> Bench:
    bench = Bench(database)
    pdf.register(bench.registry, bench.files, retries=3, timeout_s=30.0)
    return bench


@pytest.mark.covers("S2-15", "S3-20")
async def test_markdown_becomes_a_pdf_whose_text_can_be_selected(bench: Bench) -> None:
    result = await bench.run("generate_pdf", {"markdown": DOCUMENT, "title": "Invoice", "pageSize": "letter"})
    file, content = await bench.made(result["file"])
    assert result == {"file": str(file.id), "pages": 1, "size": len(content)}
    assert (file.name, file.type) == ("Invoice.pdf", "application/pdf")
    reader = read(content)
    assert reader.metadata is not None
    assert reader.metadata.title == "Invoice"
    assert [round(side) for side in reader.pages[0].mediabox[2:]] == [612, 792]
    text = text_of(content)
    for said in (
        "Invoice 42",
        "Dear Ada, it costs 10 12 euros; see the site.",
        "one",
        "three",
        "tea 1.20",
        "a|b 2.00",
        'print("hello") # not a heading',
        "quoted",
        "twice",
        "Last line.",
    ):
        assert said in text, said
    assert {note["/A"]["/URI"] for note in reader.pages[0].annotations or ()} == {"https://example.org/a?b=c"}
    assert [item.title for item in reader.outline] == ["Invoice 42"]  # type: ignore[union-attr]


@pytest.mark.covers("S2-15")
async def test_text_and_pictures_come_from_files_of_the_jobs_namespace(bench: Bench) -> None:
    photo = await bench.put(picture((300, 200), format="JPEG"))
    webp = await bench.put(picture((30, 20), format="WEBP"))
    source = await bench.put(f"\ufeffSee ![a photo](taskflow:{photo}) and ![]({webp}).".encode(), "notes.md")
    result = await bench.run("generate_pdf", {"file": source})
    file, content = await bench.made(result["file"])
    assert file.name == "notes.pdf"
    assert [image.image.size for image in read(content).pages[0].images if image.image] == [(300, 200), (30, 20)]
    foreign = await bench.put(picture(), namespace=uuid4())
    bomb, text = await bench.put(png_of(50_000, 50_000)), await bench.put(b"\xff\xfe")
    for payload, says in (
        ({"markdown": f"![x]({foreign})"}, "no file"),
        ({"markdown": f"![x]({bomb})"}, f"picture {bomb}: .*over the limit"),
        ({"markdown": f"![x]({source})"}, f"picture {source}: .*not a JPEG"),
        ({"file": str(uuid4())}, "no file"),
        ({"file": text}, "byte 0 is not UTF-8"),
    ):
        with pytest.raises(Permanent, match=says):
            await bench.run("generate_pdf", payload)


@pytest.mark.covers("S2-42")
async def test_a_forced_failure_fails(bench: Bench) -> None:
    with pytest.raises(ForcedFailure):
        await bench.run("generate_pdf", {"markdown": "x", "forceFail": True})


async def test_an_attempt_that_runs_again_makes_the_same_file(bench: Bench) -> None:
    job_id = uuid4()
    first = await bench.run("generate_pdf", {"markdown": DOCUMENT}, job_id=job_id)
    assert await bench.run("generate_pdf", {"markdown": DOCUMENT}, job_id=job_id) == first


# Nothing of a text is code -------------------------------------------------------------------------------------------

TRICKS = [
    '#include "/etc/passwd"',
    '#read("/etc/passwd")',
    '#import "@preview/cetz:0.3.0"',
    "#{while true {}}",
    "#panic(1)",
    '#eval("1")',
    '"); panic("out',
    '\\"); panic("out',
    "\\u{41} \\n",
    "$ x^2 $ <label> @ref = heading / term: x // comment /* comment */",
    "<script>alert(1)</script>",
    "&lt;b&gt; &#35;set",
    "{{ template }} %% `tick",
    "--- ... -- \"quoted\" 'quoted'",
    "~ _ * [ ] ( ) \u202e \u2028 \u00ad \u200b",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_is_shown_and_not_obeyed(trick: str) -> None:
    for markdown in (escape_markdown(trick), f"```\n{trick}\n```"):
        shown = text_of(made_of(markdown))
        wanted = "".join(char for char in trick if char.isascii() and not char.isspace())
        assert wanted in "".join(char for char in shown if char.isascii() and not char.isspace()), shown
    for markdown in (
        trick,
        f"# {trick}",
        f"- {trick}",
        f"| a |\n|---|\n| {trick} |",
        f"[{trick}](https://x.y/{trick})",
    ):
        assert read(made_of(markdown)).pages


def test_places_that_are_no_text_hold_no_code_either() -> None:
    """A language, a link's target, a list's start and a title are a writer's words too."""
    text = text_of(
        made_of(
            '```py") + panic("x\ncode\n```\n\n[a](https://e.org/%22\\"\\)+panic\\(1\\))\n\n999999999. item\n',
            title='"); panic("out \\',
        )
    )
    assert '"); panic("out \\' in text
    assert "code" in text
    assert "999999999. item" in text


def test_source_of_every_document_is_calls_and_string_literals() -> None:
    for trick in TRICKS:
        source = typeset(
            parse(f"# {trick}\n\n{trick}\n\n- {trick}"), title=trick.split("\u2028")[0], paper="a4", images={}
        )
        body = source[source.index("#align(") :]
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", body)
        words = set(re.findall(r"[A-Za-z]+", bare))
        known = {
            "align",
            "center",
            "text",
            "size",
            "pt",
            "weight",
            "heading",
            "level",
            "par",
            "list",
            "raw",
            "block",
            "true",
            "context",
            "metadata",
            "counter",
            "page",
            "final",
            "first",
            "pages",
            "link",
            "emph",
            "strong",
        }
        assert words <= known, words - known


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab #*_`~[]()!<>|-+\"\\/$@{}=:;,.'0\n\t\u202e\x01é")), max_size=80))
def test_any_text_can_be_set(markdown: str) -> None:
    try:
        document = parse(markdown)
    except Permanent:
        return  # a picture of somewhere else
    assert make_pdf(document, title=None, page_size="a5", pictures={}).pages >= 1


@pytest.mark.parametrize(
    "source", ["http://169.254.169.254/x.png", "/etc/passwd", "../x.png", "main.typ", "data:image/png,x"]
)
def test_a_picture_from_elsewhere_is_refused_with_its_line(source: str) -> None:
    if source.startswith("data:"):
        assert parse(f"![x]({source})").image_ids or "data:" in text_of(made_of(f"![x]({source})"))
        return
    with pytest.raises(Permanent, match=r"in line 3 is no TaskFlow file"):
        parse(f"one\n\n![x]({source})")


def test_links_that_are_no_links_of_the_web_lose_their_target() -> None:
    for target in ("javascript:alert(1)", "file:///etc/passwd", "/relative", "#anchor", "ftp://x.y", "vbscript:x"):
        content = made_of(f"[words]({target})")
        assert "/Annots" not in read(content).pages[0], target
        assert "words" in text_of(content)


# Limits --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("markdown", "says"),
    [
        ("a\n\n" * 20_000, "40000 blocks, over the limit of 20000"),
        ("word " * 200_000, f"pages, over the limit of {MAX_PAGES}"),
        ("x\\\n" * 6000, "pieces, over the limit of 5000"),
        (("*x* " * 600 + "\n\n") * 40, "pieces of text, over the limit of 50000"),
        ("```\n" + "x\n" * 10_001 + "```", "10001 lines of code, over the limit of 10000"),
        ("|a" * 21 + "|\n" + "|-" * 21 + "|\n", "21 columns, over the limit of 20"),
        ("".join(f"![x]({uuid4()})\n" for _ in range(51)), "51 pictures, over the limit of 50"),
    ],
    ids=["blocks", "pages", "paragraph", "text", "code", "columns", "pictures"],
)
def test_what_is_too_large_is_refused_with_the_limit(markdown: str, says: str) -> None:
    with pytest.raises(Permanent, match=says):
        made_of(markdown, page_size="a5")


@pytest.mark.parametrize(
    "markdown", ["> " * 500 + "x", "- " * 500 + "x", "[" * 5000, "*a " * 3000, "`" * 5000, "![" * 500]
)
def test_deep_and_unfinished_markdown_is_set_all_the_same(markdown: str) -> None:
    assert read(made_of(markdown)).pages


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made_of("x")
    assert list(tmp_path.iterdir()) == []


# Payloads ------------------------------------------------------------------------------------------------------------

_VALIDATOR = jsonschema_rs.validator_for(msgspec.json.schema(PAYLOAD))
_FILE = "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"


@pytest.mark.parametrize(
    ("payload", "taken"),
    [
        ({"markdown": "x"}, True),
        ({"file": _FILE, "title": "T", "pageSize": "legal"}, True),
        ({}, False),
        ({"markdown": "x", "file": _FILE}, False),
        ({"markdown": ""}, False),
        ({"markdown": "x" * 200_001}, False),
        ({"markdown": None}, False),
        ({"markdown": "x", "title": "a\nb"}, False),
        ({"markdown": "x", "title": ""}, False),
        ({"markdown": "x", "pageSize": "a0"}, False),
        ({"markdown": "x", "html": "x"}, False),
    ],
)
def test_the_api_and_the_worker_agree_on_what_a_payload_is(payload: dict[str, Any], taken: bool) -> None:
    assert _VALIDATOR.is_valid(payload) == taken
    try:
        msgspec.json.decode(msgspec.json.encode(payload), type=PAYLOAD)
        assert taken
    except msgspec.ValidationError:
        assert not taken
