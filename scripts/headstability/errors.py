"""The exceptions a user is meant to read."""

from pathlib import Path


class UserError(Exception):
    """Something the user can put right; scripts print the message without a traceback.

    It says what is wrong, where (key, file or cell) and how to fix it.
    """


class Stopped(UserError):
    """A signal asked the job to stop; its work is saved and goes on with the next run."""


class DamagedFile(UserError):
    """An output of this workflow that is truncated, altered or not what it claims to be."""

    def __init__(self, path: str | Path, reason: str) -> None:
        """Name the file and what is wrong with it."""
        super().__init__(f"{path} is damaged: {reason}")
        self.path = Path(path)
        self.reason = reason
