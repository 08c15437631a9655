"""``moist serve``."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from moist.config import load_config
from moist.errors import UserError
from moist.runtime import RoutedSession
from moist.serve import ServeSettings, serve

__all__ = ["run_serve"]


def run_serve(arguments: argparse.Namespace) -> None:
    """Serve an exported bundle over HTTP until told to stop."""
    given = {"token": token} if (token := _token(arguments.token_file)) else {}
    settings = load_config(ServeSettings, given, arguments.overrides)
    bundle = Path(arguments.bundle)
    folder = bundle / "onnx" if (bundle / "onnx").is_dir() else bundle
    open_session = partial(
        RoutedSession,
        runtime=arguments.runtime,
        max_resident=arguments.max_resident,
        memory_budget=arguments.memory_budget,
        threads=arguments.threads,
    )
    serve(folder, open_session, host=arguments.host, port=arguments.port, settings=settings)


def _token(file: str | None) -> str | None:
    """Return the token, from a file or MOIST_TOKEN: other users of the machine can read a command line."""
    if file is None:
        return os.environ.get("MOIST_TOKEN") or None
    try:
        token = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file must name a readable file of ASCII text, {file} is not ({error})") from None
    if not token:
        raise UserError(f"--token-file must hold a token, {file} is empty; write one into it")
    return token
