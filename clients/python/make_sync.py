"""Makes `earthsynth/_sync` from `earthsynth/_async`: the client is written once. With --check it only compares.

Plain words are exchanged, as httpcore does it; what differs by more than words is in `pauses.py`, written by hand.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "earthsynth"
BY_HAND = frozenset({"__init__.py", "pauses.py"})
HEADER = "# Made by make_sync.py from _async/{name}; change it there.\n"

_WORDS = [
    (r"AsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\b_?Async(?=[A-Z]\w*)", lambda found: "_" if found[0].startswith("_") else ""),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\ba(close|closing|read|iter_bytes|iter_raw)\b", r"\1"),
    (r"\b_async\b", "_sync"),
]


def sync_text(text: str, name: str) -> str:
    """The sync twin of a file."""
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text)
    head, mark, rest = text.partition("from __future__")
    return f"{head}{HEADER.format(name=name)}\n{mark}{rest}" if mark else HEADER.format(name=name) + text


def made() -> dict[str, str]:
    """The text of each sync file by name, sorted and formatted as the repository's are."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
    found = {}
    for path in sorted((PACKAGE / "_async").glob("*.py")):
        if path.name in BY_HAND:
            continue
        text = sync_text(path.read_text(encoding="utf-8"), path.name)
        place = str(PACKAGE / "_sync" / path.name)
        for words in (["check", "--select=I", "--fix", "--quiet"], ["format", "--quiet"]):
            done = subprocess.run(
                [ruff, *words, f"--stdin-filename={place}", "-"],
                input=text,
                capture_output=True,
                text=True,
                check=True,
            )
            text = done.stdout
        found[path.name] = text
    return found


def main(check: bool) -> int:
    wanted, folder = made(), PACKAGE / "_sync"
    there = {
        path.name: path.read_text(encoding="utf-8")
        for path in folder.glob("*.py")
        if path.name not in BY_HAND
    }
    differing = sorted({name for name, _ in wanted.items() ^ there.items()})
    if check:
        for name in differing:
            sys.stderr.write(f"{name}: not what make_sync.py makes of _async/{name}; run: make format\n")
        return 1 if differing else 0
    for name in there.keys() - wanted.keys():
        (folder / name).unlink()
    for name in differing:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
