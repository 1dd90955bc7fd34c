"""Checks of the repository itself, with the standard library alone: what no linter looks at. Prints what is wrong."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_LINES = 600  # of a source file: past that, look for the second noun in it
LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-build.txt")
TEXT = {".py", ".sql", ".md", ".toml", ".txt", ".sh", ".yml", ".yaml", ".json", ""}

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplemented")
HOME_PATH = re.compile(r"(?<![\w.])/(?:home|Users)/[a-z][\w-]*/|(?<![\w./])/ro{2}t/\S")
REGISTRY = re.compile(r"(index-url|extra-index-url|find-links|registry)\s*[=:]\s*[\"']?https?://", re.IGNORECASE)
CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)


def main() -> int:
    wrong = [*check_locks(), *(line for path in tracked_files() for line in check_file(path))]
    for line in wrong:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"repository check: {len(wrong) or 'nothing'} wrong\n")
    return 1 if wrong else 0


def tracked_files() -> Iterator[Path]:
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout.decode()  # noqa: S603
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            yield ROOT / name


def check_locks() -> Iterator[str]:
    """Locks name versions and hashes, no hosts; the development set holds the runtime set as it is."""
    pins = {}
    for name in LOCKS:
        text = (ROOT / name).read_text()
        if "://" in text:
            yield f"{name}: holds a URL; locks name versions and hashes only"
        blocks = re.split(r"\n(?=\S)", text.strip())
        for block in blocks:
            if "--hash=sha256:" not in block:
                yield f"{name}: {block.splitlines()[0]!r} has no hash"
        pins[name] = {block.split()[0] for block in blocks}
    for missing in sorted(pins["requirements.txt"] - pins["requirements-dev.txt"]):
        yield f"requirements-dev.txt: lacks {missing} of requirements.txt; run make lock"


def check_file(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT).as_posix()
    if path.name in {"uv.lock", "pylock.toml"}:
        yield f"{name}: records hosts; the requirements files are the locks"
    if path.suffix not in TEXT or path.name in LOCKS:
        return
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return
    if text and not text.endswith("\n"):
        yield f"{name}: does not end with a line break"
    if "\r" in text:
        yield f"{name}: has carriage returns"
    if CONFLICT.search(text):
        yield f"{name}: holds a merge conflict"
    if REGISTRY.search(text):
        yield f"{name}: names a package registry"
    for number, line in enumerate(text.splitlines(), 1):
        if HOME_PATH.search(line):
            yield f"{name}:{number}: holds a path of somebody's machine"
        if name.startswith(("src/", "learn/src/")) and UNFINISHED.search(line):
            yield f"{name}:{number}: is marked unfinished"
    lines = text.count("\n")
    if path.suffix == ".py" and name.startswith("src/") and lines > MAX_LINES:
        yield f"{name}: has {lines} lines, over {MAX_LINES}: is there a second noun in it?"


if __name__ == "__main__":
    sys.exit(main())
