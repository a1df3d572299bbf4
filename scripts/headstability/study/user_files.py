"""The files and folders a study works with, before it starts: can they be read, and written to?"""

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import UserError
from .config_file import short

# Files that are named one by one; a study may have thousands of weights.
SHOWN = 20


def check_files(named: Mapping[str, str], root: str) -> None:
    """Check that files of the user's can be read and that results can be written.

    Args:
        named: the key that names each file, by its path.
        root: where results go.

    Raises:
        UserError: naming every file that cannot be read by its key, or what is wrong with the
            folder.
    """
    problems = [
        f"{key}: {_shown(path)} {why}"
        for path, key in named.items()
        if (why := why_unreadable(path)) is not None
    ]
    if len(problems) > SHOWN:
        problems = [*problems[:SHOWN], f"... and {len(problems) - SHOWN} more files"]
    folder = Path(root)
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        problems.append(f"{folder} is not a directory: results go there; move it away")
    elif not os.access(folder, os.W_OK | os.X_OK):
        problems.append(f"{folder} is not writable: results go there")
    if problems:
        raise UserError("this study cannot run:\n  " + "\n  ".join(problems))


def _shown(path: str) -> str:
    return path if path.isprintable() and path.strip() == path and len(path) < 200 else short(path)


def why_unreadable(path: str) -> str | None:
    """What is wrong with a file of the user's, and what to do; None if its first byte is read."""
    try:
        if not Path(path).is_file():
            return "is not a file; paths start in this folder: correct it, or put the file there"
        with open(path, "rb") as handle:
            handle.read(1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte, half a surrogate pair
        reason = getattr(error, "strerror", None) or error
        return f"cannot be read ({reason}); correct the path, or make the file readable"
    return None
