"""Texts as hashed ids: no vocabulary to keep, and the same ids on every machine."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HashedText"]

TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class HashedText:
    """Words and n-grams, each hashed to an id from 1 to ``num_buckets``; 0 is padding.

    Ids keep the text's order: words, then longer word n-grams by length, then n-grams of characters inside words.

    Args:
        max_length: ids kept of a text.
        num_buckets: different ids, padding aside.
        word_ngrams: longest run of words that makes an id.
        char_ngrams: shortest and longest run of characters that makes an id, or None for none.
        lowercase: whether case is dropped.

    Paper: Weinberger et al. (2009), "Feature hashing for large scale multitask learning".
    """

    max_length: int
    num_buckets: int
    word_ngrams: int = 1
    char_ngrams: tuple[int, int] | None = None
    lowercase: bool = True
    kind: Literal["text"] = "text"

    def encode(self, raw: np.ndarray | Sequence[str]) -> np.ndarray:
        """Return ids, int32 (N, max_length), padded with 0 at the end, of (N,) strings."""
        encoded = np.zeros((len(raw), self.max_length), dtype=np.int32)
        for row, text in enumerate(raw):
            ids = [self.id_of(part) for part in islice(self._parts(str(text)), self.max_length)]
            encoded[row, : len(ids)] = ids
        return encoded

    def id_of(self, part: str) -> int:
        """Return the id of one word or n-gram."""
        return 1 + zlib.crc32(part.encode("utf-8", "replace")) % self.num_buckets

    def _parts(self, text: str) -> Iterator[str]:
        words = TOKEN.findall(text.lower() if self.lowercase else text)
        yield from words
        for length in range(2, self.word_ngrams + 1):
            for start in range(len(words) - length + 1):
                yield " ".join(words[start : start + length])
        if self.char_ngrams is not None:
            shortest, longest = self.char_ngrams
            for word in words:
                # Marked ends tell a prefix from a run inside; the mark also keeps them apart from words.
                marked = f"<{word}>"
                for length in range(shortest, longest + 1):
                    for start in range(len(marked) - length + 1):
                        yield f"#{marked[start : start + length]}"

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as JSON-like values."""
        return {
            "kind": self.kind,
            "max_length": self.max_length,
            "num_buckets": self.num_buckets,
            "word_ngrams": self.word_ngrams,
            "char_ngrams": None if self.char_ngrams is None else list(self.char_ngrams),
            "lowercase": self.lowercase,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the transform that ``to_dict`` wrote."""
        grams = values["char_ngrams"]
        return cls(
            max_length=values["max_length"],
            num_buckets=values["num_buckets"],
            word_ngrams=values["word_ngrams"],
            char_ngrams=None if grams is None else (grams[0], grams[1]),
            lowercase=values["lowercase"],
        )
