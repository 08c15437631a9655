"""The command line: parse, call a recipe or open a bundle, print."""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence

from moist.cli.arguments import create_parser
from moist.errors import UserError
from moist.storage import is_disk_full

__all__ = ["main"]

USER_ERROR, BROKEN_PIPE, INTERRUPTED = 2, 141, 130
STDOUT = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the arguments after ``moist``; by default the process's own.

    Returns:
        0, or 2 after a user's error, 130 after Ctrl-C, 141 where nobody reads the output any more.
    """
    arguments = create_parser().parse_args(argv)
    if threading.current_thread() is threading.main_thread():
        # A stopped service or container gets SIGTERM: it saves its state just as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        module, _, function = arguments.run.partition(":")
        getattr(importlib.import_module(module), function)(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _stop(f"interrupted; {arguments.interrupted}", INTERRUPTED, kind="")
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # Python flushes once more at exit; there must be somewhere to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return BROKEN_PIPE
    except (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError) as error:
        if error.filename is None:
            raise
        return _stop(f"{error.strerror}: {error.filename}; check the path", USER_ERROR)
    except UserError as error:
        return _stop(str(error), USER_ERROR)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "moist":
            raise
        return _stop(
            f"this command needs the package {error.name}, which is not installed; run: pip install 'moist[train]'",
            USER_ERROR,
        )
    except OSError as error:
        if not is_disk_full(error):
            raise
        where = "" if error.filename is None else f" while writing {error.filename}"
        return _stop(f"no space left on the disk{where}; free some space and run the same command again", USER_ERROR)
    return 0


def _reader_is_gone() -> bool:
    """Tell a closed stdout from a broken pipe to somewhere else, a worker say."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(STDOUT, select.POLLERR)
    return bool(poll.poll(0))


def _stop(message: str, code: int, kind: str = "error: ") -> int:
    print(f"moist: {kind}{' '.join(message.split())}", file=sys.stderr)
    return code
