"""Files written little by little, so that a job that was killed goes on where it stopped."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import UserError
from .files import read_json, write_failure, write_json

STATE = "state.json"


class ResumableFiles:
    """Files in a hidden folder, and the `state` saved with them (at the beginning empty)."""

    def __init__(self, folder: str | Path, names: list[str], fingerprint: str) -> None:
        """Open the files of a folder of this job alone, as they were when they were last saved.

        What was saved under another `fingerprint`, which identifies what is written, is dropped.
        """
        self.folder, self.fingerprint = Path(folder), fingerprint
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            saved = self._saved()
            self.handles = {name: open(self.folder / name, "ab") for name in names}  # noqa: SIM115
            for name, handle in self.handles.items():
                handle.truncate(saved["sizes"][name] if saved else 0)
                handle.seek(0, os.SEEK_END)
        except OSError as error:
            raise write_failure(self.folder, error) from error
        self.state: dict[str, Any] = saved["state"] if saved else {}

    def _saved(self) -> dict[str, Any] | None:
        try:
            found = read_json(self.folder / STATE)
        except UserError:
            return None
        whole = found["fingerprint"] == self.fingerprint and all(
            (self.folder / name).is_file() and (self.folder / name).stat().st_size >= size
            for name, size in found["sizes"].items()
        )
        return found if whole else None

    def write(self, name: str, data: bytes) -> None:
        """Append to a file; a UserError says that it cannot be written (disk full)."""
        try:
            self.handles[name].write(data)
        except OSError as error:
            raise self._failure(self.folder / name, error) from error

    def save(self, state: Mapping[str, Any]) -> None:
        """Remember the files as they are now, with a state of the caller's."""
        try:
            for handle in self.handles.values():
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise self._failure(self.folder, error) from error
        sizes = {name: handle.tell() for name, handle in self.handles.items()}
        content = {"fingerprint": self.fingerprint, "sizes": sizes, "state": dict(state)}
        write_json(self.folder / STATE, content)

    def _failure(self, path: Path, error: OSError) -> UserError:
        for handle in self.handles.values():
            with suppress(OSError):  # what is held back does not fit either
                handle.close()
        return write_failure(path, error, "what was saved on the way is kept for that")

    def publish(self, paths: Mapping[str, str | Path]) -> None:
        """Move the files to where they belong; each is whole there or absent."""
        for handle in self.handles.values():
            handle.close()
        try:
            for name, path in paths.items():
                os.replace(self.folder / name, path)
        except OSError as error:
            raise write_failure(Path(path), error) from error

    def forget(self) -> None:
        """After `publish`: remove the folder, and the one it is in unless others use that."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()
