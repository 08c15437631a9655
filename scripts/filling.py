"""Fill the marked part of pages with text, or compare: what the programs beside it share."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["fill", "row", "update"]

START, END = "<!-- results:start -->", "<!-- results:end -->"


def fill(page: str, text: str) -> str:
    """Return ``page`` with ``text`` between its two markers."""
    before, _, rest = page.partition(START)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"a page with results must hold the lines {START} and {END}, in this order; add them")
    return f"{before}{START}\n{text}\n{END}{after}"


def update(pages: Mapping[Path, str], arguments: Sequence[str]) -> int:
    """Fill each page with its text, or only compare where ``arguments`` hold ``--check``; return the exit code."""
    stale = []
    for path, text in pages.items():
        page = path.read_text(encoding="utf-8")
        filled = fill(page, text)
        if "--check" not in arguments:
            path.write_text(filled, encoding="utf-8")
        elif filled != page:
            stale.append(path.name)
    if stale:
        print(f"{' and '.join(stale)} do not show results/*.json; run {Path(sys.argv[0]).name}", file=sys.stderr)
    return int(bool(stale))


def row(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"
