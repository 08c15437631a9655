"""The files of a bundle: a folder that is whole or absent, and a manifest that knows every byte of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moist.folders import SAFE_NAME, SealedFolder, record_files
from moist.mixture.model import InferenceSettings
from moist.mixture.settings import MixtureSettings
from moist.students import StudentSettings
from moist.types import UserError

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "DomainRecord",
    "FileRecord",
    "Manifest",
    "WeightFiles",
    "check_file",
    "new_folder",
    "parse_manifest",
    "read_manifest",
    "record_files",
    "write_manifest",
]

MANIFEST = "bundle.json"
SCHEMA = 1
REMEDY = "copy the whole folder again from where it came, or make the bundle again"
BUNDLE = SealedFolder("a bundle", MANIFEST, SCHEMA, REMEDY)

write_manifest = BUNDLE.write_manifest
read_manifest = BUNDLE.read_manifest
check_file = BUNDLE.check_file
new_folder = BUNDLE.new_folder


class _Record(BaseModel):
    # Keys that a later version adds beside these are left alone.
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileRecord(_Record):
    """What a file must be."""

    sha256: str
    bytes: int


class WeightFiles(_Record):
    """Where the shared weights are; no trunk or no generalist is None."""

    trunk: str | None
    router: str
    generalist: str | None


class DomainRecord(_Record):
    """Where a specialist's weights are."""

    file: str


class Manifest(_Record):
    """The part of ``bundle.json`` that a mixture is rebuilt from."""

    classes: tuple[str, ...] = Field(min_length=2)
    input: dict[str, Any]
    transform: dict[str, Any]
    student: StudentSettings
    mixture: MixtureSettings
    inference: InferenceSettings
    threshold: float
    weights: WeightFiles
    domains: tuple[DomainRecord, ...]
    files: dict[str, FileRecord]

    @model_validator(mode="after")
    def _check_files(self) -> Manifest:
        shared = [self.weights.trunk, self.weights.router, self.weights.generalist]
        named = [name for name in shared if name is not None] + [domain.file for domain in self.domains]
        for name in [*self.files, *named]:
            if not SAFE_NAME.fullmatch(name):
                raise ValueError(f"a file must be named by a plain path inside the bundle, got {name!r}; do not use it")
        absent = [name for name in named if name not in self.files]
        if absent:
            raise ValueError(f"every file of weights must have a checksum, {', '.join(absent)} has none")
        if len(self.domains) != self.mixture.num_domains:
            raise ValueError(
                f"domains must list num_domains={self.mixture.num_domains} specialists, got {len(self.domains)}"
            )
        return self


def parse_manifest(manifest: Mapping[str, Any], folder: Path) -> Manifest:
    """Return the typed part of ``bundle.json``.

    Raises:
        UserError: something is missing or breaks a rule; a file name that leads out of the folder does.
    """
    try:
        return Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"{folder / MANIFEST} does not describe a bundle: {place + ': ' if place else ''}{problem}; {REMEDY}"
        ) from None
