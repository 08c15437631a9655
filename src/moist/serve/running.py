"""The process around the application: a socket, signals, and a stop that lets nothing drop."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from moist.errors import UserError
from moist.progress import say
from moist.serve.app import create_app
from moist.serve.models import OpenSession
from moist.serve.settings import ServeSettings

try:
    import uvicorn
except ImportError as error:
    raise UserError("serving needs uvicorn, which is not installed; pip install 'moist[serve]'") from error

__all__ = ["serve"]

# Python lets a thread run for 5 ms before another may; the model's thread would wait that long for the event loop's.
SWITCH_SECONDS = 0.0005
BACKLOG = 2048


def serve(
    path: str | Path,
    open_session: OpenSession,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    settings: ServeSettings | None = None,
) -> None:
    """Serve the model in the folder ``path`` until SIGTERM or Ctrl-C; what is in flight then is finished first.

    SIGHUP loads the folder anew.

    Args:
        path: the folder.
        open_session: opens such a folder.
        host: address to listen at; ``0.0.0.0`` for every one.
        port: 0 for any free one; the one taken is told.
        settings: limits and token.

    Raises:
        UserError: the address is taken, or the folder holds no model that can be opened.
        KeyboardInterrupt: after the stop, where it was Ctrl-C.
    """
    settings = settings or ServeSettings()
    app = create_app(path, open_session, settings)
    listening = _listen(host, port)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=round(settings.shutdown_timeout) or 1,
    )
    server = _Server(config, f"http://{_shown(listening)}")
    sys.setswitchinterval(SWITCH_SECONDS)
    # When it has stopped, uvicorn raises the signal again: SIGTERM is then done with.
    signal.signal(signal.SIGTERM, _ignore)
    with listening:
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Tells when it listens, and reloads on SIGHUP."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address
        self._reloading: asyncio.Task[bool] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        say(f"listening at {self._address}")

    def _reload(self) -> None:
        self._reloading = asyncio.ensure_future(self.config.app.state.holder.reload())  # type: ignore[union-attr]


def _ignore(_: int, __: FrameType | None) -> None:
    pass


def _listen(host: str, port: int) -> socket.socket:
    # The protocol is said in full: asyncio switches Nagle's algorithm off only where it is, and with it on an answer
    # waits 40 ms for the client to acknowledge its headers.
    listening = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        return listening
    except (OSError, OverflowError) as error:
        listening.close()
        raise UserError(
            f"the server must be able to listen at {host}, port {port}, but: {error}; choose others"
        ) from None


def _shown(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
