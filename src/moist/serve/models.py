"""The model that is served, and how a new one takes its place without a request being lost.

A model is opened from a private copy of its folder, so that whatever happens to the folder, a specialist that is opened
late is still the one that belongs to the others. Each request holds the model that read its inputs until it is
answered; a model that was replaced is closed when the last one lets go.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from moist.errors import UserError
from moist.runtime import RoutedSession
from moist.storage import content_key

__all__ = ["ModelHolder", "OpenSession", "ServedModel", "fingerprint"]

OpenSession = Callable[[Path], RoutedSession]


class ServedModel:
    """An open session and the private copy that it reads.

    Args:
        session: the open session.
        folder: the private copy, deleted with the model.
        version: names the content of the folder it came from.
    """

    def __init__(self, session: RoutedSession, folder: Path, version: str) -> None:
        self.session = session
        self.version = version
        self.loaded_at = time.time()
        self.folder = folder
        self._users = 1  # the holder

    def retain(self) -> ServedModel:
        """Keep the model open until :meth:`release`; on the event loop only."""
        self._users += 1
        return self

    def release(self) -> None:
        """Let go; the last one closes."""
        self._users -= 1
        if self._users == 0:
            self.close()

    def close(self) -> None:
        """Close the session and delete the copy."""
        self.session.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class ModelHolder:
    """Holds the current model and replaces it.

    Args:
        path: the folder that models come from.
        open_session: opens a folder.
        on_reload: told of every attempt: the new model, or the error that left the old one in place.
    """

    def __init__(
        self, path: Path, open_session: OpenSession, on_reload: Callable[[ServedModel | Exception], None]
    ) -> None:
        self._path, self._open_session, self._on_reload = path, open_session, on_reload
        self._seen = ""
        self._reloading = asyncio.Lock()
        self.current = self._open()

    def _open(self) -> ServedModel:
        self._seen = fingerprint(self._path)
        copy = Path(tempfile.mkdtemp(prefix="moist-serve-")).resolve()
        try:
            shutil.copytree(self._path, copy, dirs_exist_ok=True)
            return ServedModel(self._open_session(copy), copy, self._seen)
        except UserError as error:
            shutil.rmtree(copy, ignore_errors=True)
            # The copy is gone, and nothing that a user has named: the error is about the folder that it was made from.
            raise UserError(str(error).replace(str(copy), str(self._path))) from error
        except BaseException:
            shutil.rmtree(copy, ignore_errors=True)
            raise

    async def reload(self) -> bool:
        """Open the folder anew, beside the model that answers meanwhile, and swap; on an error nothing changes."""
        async with self._reloading:
            try:
                new = await asyncio.get_running_loop().run_in_executor(None, self._open)
            except Exception as error:  # whatever is wrong with the new one, the old one goes on
                self._on_reload(error)
                return False
            old, self.current = self.current, new
            old.release()
            self._on_reload(new)
            return True

    async def watch(self, seconds: float) -> None:
        """Reload whenever the folder's content has changed; until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(seconds)
            now = await loop.run_in_executor(None, fingerprint, self._path)
            # While a folder is being replaced there may be none.
            if now and now != self._seen:
                await self.reload()

    def close(self) -> None:
        """Let go of the current model."""
        self.current.release()


def fingerprint(path: Path) -> str:
    """Return a name for the content of a folder, by names, sizes and times; empty where there is no folder."""
    try:
        files = sorted(file for file in path.rglob("*") if file.is_file())
        facts = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    except OSError:
        return ""
    return content_key([(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts]) if facts else ""
