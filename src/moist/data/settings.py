"""What data to read: a built-in name, a path, or a hub name, and how to read it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from moist.config import Settings, nearest
from moist.data.catalog import BUILT_IN

__all__ = ["DataSettings", "Kind"]

Kind = Literal["vision", "text", "tabular"]


class DataSettings(Settings):
    """Where a data set is and how it is read; exactly one of ``name``, ``path`` and ``hub`` is given.

    Args:
        name: a built-in data set (see ``moist data list``), such as ``digits``, which needs no file.
        path: a Parquet, CSV, TSV or JSONL file, a folder of such files named train/validation/test, a folder of
            MNIST-like IDX files, or a folder of images per class (its ``train`` and ``test`` folders honoured).
        hub: a data set of the public hub, ``owner/name`` or ``owner/name:configuration``; needs ``moist[hf]``.
        kind: needed for tables whose kind cannot be told from the columns.
        test_path: where the test part is, when it is not beside ``path``.
        input_column: the column of texts or images; found by name and type where it is left out.
        label_column: the column of classes; found by name where it is left out. Data may have none.
        drop_columns: columns of a table that are no input, such as row numbers.
        classes: the classes in the order to use, or the names of the numbers 0, 1, ...
        image_size: side, or (height, width), that every image is resized and centre-cropped to.
        validation: fraction of the training part that is cut off for validation where no file holds one.
        test: fraction that is cut off for the test where the source has no test part; 0 for none.
        split_seed: seed of these cuts.
        on_error: ``skip`` leaves out examples that cannot be read and names them; ``raise`` stops.
        limit: use this many training rows only (drawn by ``split_seed``), for trials.
    """

    name: str | None = None
    path: str | None = None
    hub: str | None = None
    kind: Kind | None = None
    test_path: str | None = None
    input_column: str | None = None
    label_column: str | None = None
    drop_columns: tuple[str, ...] = ()
    classes: list[str] | None = None
    image_size: int | tuple[int, int] | None = None
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.2, ge=0, lt=1)
    split_seed: int = Field(0, ge=0)
    on_error: Literal["raise", "skip"] = "raise"
    limit: int | None = Field(None, ge=2)

    @property
    def size(self) -> tuple[int, int] | None:
        """Return (height, width) to resize images to, or None."""
        if isinstance(self.image_size, int):
            return self.image_size, self.image_size
        return self.image_size

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        given = [key for key in ("name", "path", "hub") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of name, path and hub must be given, got {', '.join(given) or 'none'}; "
                "for data that need no file write name: digits"
            )
        if self.test_path is not None and self.path is None:
            raise ValueError(f"test_path goes with path, got it with {given[0]}; give path instead of {given[0]}")
        if self.name is not None and self.name not in BUILT_IN:
            raise ValueError(
                f"no built-in data set is called {self.name!r}. {nearest(self.name, BUILT_IN)} "
                "For your own data give path instead of name"
            )
        if self.name is not None and self.kind not in (None, BUILT_IN[self.name].kind):
            raise ValueError(
                f"{self.name} is of kind {BUILT_IN[self.name].kind}, got kind: {self.kind}; leave kind out"
            )
        return self

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        if self.classes is not None and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(f"classes must be at least two different names, got {self.classes}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {self.image_size}")
        return self
