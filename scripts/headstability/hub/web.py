"""A small file of the web by its address and hash, kept where models of the hub are kept, too."""

import hashlib
import os
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import urlopen

from ..errors import UserError
from ..storage.files import sha256_file, short_reason, write_bytes

LARGEST = 2**26  # bytes: nothing that is fetched this way has more
_PATIENCE = 30.0  # seconds without an answer


def fetch_file(url: str, sha256: str, key: str) -> Path:
    """A file by its address, from the folder HF_HOME names (~/.cache/huggingface) if it is there.

    `key` of the config names it in messages: a UserError says that it cannot be fetched, or is
    another file than the hash (64 hexadecimal digits) says.
    """
    sha256 = sha256.lower()
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    kept = home / "headstability" / f"{sha256}{PurePosixPath(urlsplit(url).path).suffix}"
    if kept.is_file() and sha256_file(kept) == sha256:
        return kept
    try:
        with urlopen(url, timeout=_PATIENCE) as answer:  # the config admits http and https alone
            data = answer.read(LARGEST + 1)
    except (OSError, HTTPException) as error:  # of the network, and answers like "not found"
        raise UserError(
            f"{url} cannot be fetched: {short_reason(error)}. "
            f"Correct {key}.url, run the same command again when the network is there, or fetch "
            "the file elsewhere and give it as {type: file, path: ...}"
        ) from error
    if len(data) > LARGEST:
        raise UserError(f"{url} has more than {LARGEST} bytes: correct {key}.url")
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise UserError(
            f"{url} has sha256 {found}, expected {sha256}: it changed, or arrived damaged, and was "
            f"not kept. Run the same command again, or correct {key}.sha256"
        )
    write_bytes(kept, data)
    return kept
