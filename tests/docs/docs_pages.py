"""The project's pages of text, and the blocks of code in them."""

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md", PROJECT / "examples/README.md"]
PAGES += sorted((PROJECT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.M | re.S)

# Enough to run every stage once: what comes out is a bundle, not a good one.
FAST = ["training.epochs=2", "controls.max_epochs=2", "controls.frontier=[0.5]", "controls.same_total=false"]
FAST += ["controls.random_partition=false", "controls.class_domains=false", "jobs.workers=2"]


@dataclass(frozen=True)
class Block:
    """One block of code: its language, its text, and the page that it stands on."""

    page: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block that are commands."""
        return [line for line in self.text.splitlines() if line.strip() and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(page.name, language, code) for language, code in BLOCK.findall(text)]


def all_blocks(language: str) -> list[Block]:
    """Return the blocks of one language on all pages."""
    return [block for page in PAGES for block in blocks(page) if block.language == language]
