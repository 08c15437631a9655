"""Checkpoints of torch modules, read without running any code that they hold."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from moist.types import UserError

__all__ = ["load_checkpoint"]


def load_checkpoint(module: nn.Module, path: Path, strip_prefix: str = "") -> None:
    """Load weights into ``module``, strictly.

    Args:
        module: filled in place.
        path: ``.safetensors``, else a file of ``torch.save`` that holds tensors alone, bare or under ``state_dict``.
        strip_prefix: taken off the front of the names that have it.

    Raises:
        UserError: the file is missing, holds something else, or does not fit the module.
    """
    weights = {name.removeprefix(strip_prefix): tensor for name, tensor in _read(path).items()}
    try:
        outcome = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise UserError(
            f"checkpoint {path} must fit the module: {_short(str(error))}; check the factory's kwargs"
        ) from error
    if outcome.missing_keys or outcome.unexpected_keys:
        raise UserError(
            f"checkpoint {path} must have the module's names; missing: {_first(outcome.missing_keys)}; unexpected: "
            f"{_first(outcome.unexpected_keys)}; check the factory and teacher.strip_prefix ({strip_prefix!r})"
        )


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"teacher.checkpoint must be a file, got {path}, which is not there; give the path of one")
    try:
        content: Any
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            _refuse_compressed(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"a checkpoint must hold tensors alone, so that reading it runs no code; {path} holds more "
            f"({_short(str(error))}); save its state_dict again, best as .safetensors"
        ) from error
    except UserError:
        raise
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(f"checkpoint {path} cannot be read ({_short(str(error))}); fetch it again") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(
            f"a checkpoint must map names to tensors, bare or under 'state_dict'; {path} holds something else; "
            "save the module's state_dict()"
        )
    return content


def _refuse_compressed(path: Path) -> None:
    """Refuse an archive whose entries are compressed, as torch never writes them: a few bytes could fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            compressed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    if compressed:
        raise UserError(f"a checkpoint must not be compressed, {compressed[0]} in {path} is; save it with torch.save")


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}" if names else "none"


def _short(text: str, most: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]} ..."
