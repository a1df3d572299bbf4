"""Fetching files from the Hugging Face hub into its shared cache, resumable and checked.

The cache is the hub's own (HF_HOME says where), shared with other programs. Beyond what the hub's
library does, a killed download resumes, and what arrived is checked against the hub's hash.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from httpx2 import HTTPError
from huggingface_hub import HfApi, constants, errors, file_download, hf_hub_url
from huggingface_hub.file_download import HfFileMetadata, try_to_load_from_cache
from huggingface_hub.utils import build_hf_headers

from ..errors import UserError
from ..storage.files import sha256_file, short_reason, write_failure
from ..storage.locks import locked
from ..storage.progress import Progress
from .folders import COMMIT, CONFIG, weights_names
from .tensors import check_sha256


class Hub:
    """One repository at one revision."""

    def __init__(self, repo: str, revision: str, kind: str = "model") -> None:
        """Name a repository of a kind (model or dataset) and a commit, tag or branch."""
        self.kind = kind
        # The section of the config that names it, for messages.
        self.key = "source" if kind == "model" else "corpus"
        self.repo, self.revision = repo, revision
        self.endpoint = constants.ENDPOINT.rstrip("/")
        self._where = {"repo_type": kind, "endpoint": self.endpoint}
        self.cache = Path(constants.HF_HUB_CACHE)
        # The commit a tag or branch stands for, once known: all files come from that one.
        self.commit = revision if COMMIT.fullmatch(revision) else None

    def cached(self, name: str) -> Path | None:
        """A file of the repository in the cache; None if it is not there."""
        revision = self.commit or self.revision
        found = try_to_load_from_cache(self.repo, name, self.cache, revision, repo_type=self.kind)
        return Path(found) if isinstance(found, str) and Path(found).exists() else None

    def exists(self, name: str) -> bool:
        """Whether the repository has a file of this name."""
        return self.cached(name) is not None or self._metadata(name) is not None

    def fetch(self, name: str) -> Path:
        """A file of the repository, from the cache or the hub; a UserError if that fails."""
        if self.commit and (found := self.cached(name)):
            return found
        metadata = self._metadata(name)
        if metadata is None:
            raise UserError(f"{self} has no file {name}: correct {self.key}.path")
        if (found := self.cached(name)) is None:
            self._download(name, metadata)
            # The content is there now: this only files it under its name.
            found = file_download.hf_hub_download(
                self.repo, name, revision=self.revision, cache_dir=self.cache, **self._where
            )
        return Path(found)

    def names(self) -> list[str]:
        """The files of the repository; a UserError if it or the hub cannot be reached."""
        hub = HfApi(endpoint=self.endpoint)
        with self._asking("the list of files"):
            found = hub.repo_info(self.repo, revision=self.revision, repo_type=self.kind)
        self.commit = found.sha
        return [file.rfilename for file in found.siblings or []]

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision}"

    def _metadata(self, name: str) -> HfFileMetadata | None:
        """What the hub says of a file; None if it has no such file."""
        revision = self.commit or self.revision
        url = hf_hub_url(self.repo, name, revision=revision, **self._where)
        asked = {"headers": build_hf_headers(), "endpoint": self.endpoint}
        with self._asking(name):
            try:
                found = file_download.get_hf_file_metadata(url, **asked)
            except errors.EntryNotFoundError:
                return None
        if found.commit_hash is None or found.etag is None or found.size is None:
            raise UserError(f"{self.endpoint} does not answer like a hub when asked for {name}")
        self.commit = found.commit_hash
        return found

    def _download(self, name: str, metadata: HfFileMetadata) -> None:
        """Bring a file's content into the cache, going on with what is there of it."""
        folder = file_download.repo_folder_name(repo_id=self.repo, repo_type=self.kind)
        blobs = self.cache / folder / "blobs"
        partial = blobs / f"{metadata.etag}.headstability"
        headers = build_hf_headers()
        if urlsplit(metadata.location).netloc != urlsplit(self.endpoint).netloc:
            headers.pop("authorization", None)  # not for the servers the hub stores files on
        try:
            blobs.mkdir(parents=True, exist_ok=True)
            # Another job may be fetching the same file.
            with locked(partial), open(partial, "ab") as handle:
                if (blobs / metadata.etag).exists():
                    partial.unlink(missing_ok=True)
                    return
                file_download.http_get(
                    metadata.location,
                    handle,
                    resume_size=handle.tell(),
                    headers=headers,
                    expected_size=metadata.size,
                    displayed_filename=name,
                    tqdm_class=_ProgressLines,
                )
                handle.flush()
                os.fsync(handle.fileno())
                if not _is_content(partial, metadata.etag):
                    partial.unlink()
                    raise UserError(
                        f"{name} of {self} arrived damaged: its hash is not {metadata.etag}. "
                        "It was removed; run the same command again to fetch it anew"
                    )
                partial.rename(blobs / metadata.etag)
        except (HTTPError, OSError) as error:
            if getattr(error, "errno", None) is None:  # not of the disk
                raise self._offline(name, error) from error
            raise write_failure(partial, error) from error

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Turn what the hub's library raises about a file into messages."""
        try:
            yield
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            what = "revision" if isinstance(error, errors.RevisionNotFoundError) else "repository"
            raise UserError(
                f"the hub has no {what} {self}, or you may not read it: correct {self.key}.repo or "
                f"{self.key}.revision, or log in with `hf auth login`"
            ) from error
        except (HTTPError, OSError) as error:
            raise self._offline(name, error) from error

    def _offline(self, name: str, error: Exception) -> UserError:
        return UserError(
            f"{name} of {self} is not in the cache ({self.cache}) and cannot be fetched from "
            f"{self.endpoint}: {short_reason(error)}.\nRun the same command again when the hub "
            "can be reached: what has arrived is kept. Or fetch it where there is a network and "
            "copy that cache here; HF_HOME says where the cache is."
        )


class _ProgressLines(AbstractContextManager):
    """Stands in for the bar the hub's library draws."""

    def __init__(self, total: int | None, initial: int, desc: str, **_: Any) -> None:
        self.done, self.progress = initial, Progress(desc, total or 0, initial)

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, size: int) -> None:
        """Say that `size` more bytes have arrived."""
        self.done += size
        self.progress.update(self.done)


def fetch_place(hub: Hub, type_: str, path: str, sha256: Mapping[str, str]) -> dict[str, Any]:
    """Fetch the files of one cell and step; returns repo, commit, and size and hash of each file.

    Args:
        hub: the repository.
        type_: `transformerlens`: `path` is a file; `huggingface`: a folder of a model.
        path: in the repository; empty: its top folder.
        sha256: hashes that files must have, by repository/path; a UserError if they do not.
    """

    def inside(name: str) -> str:
        return str(PurePosixPath(path, name))

    names = [path]
    if type_ == "huggingface":
        weights = weights_names(
            str(hub), lambda name: hub.exists(inside(name)), lambda name: hub.fetch(inside(name))
        )
        names = [inside(name) for name in (CONFIG, *weights)]
    files = {}
    for name in names:
        found = hub.fetch(name)
        full = f"{hub.repo}/{name}"
        hashed = check_sha256(found, sha256[full], full) if full in sha256 else sha256_file(found)
        files[name] = {"sha256": hashed, "size": found.stat().st_size}
    return {"repo": hub.repo, "revision": hub.commit, "files": files}


def _is_content(path: Path, etag: str) -> bool:
    """Whether a file is what the hub's tag says: the sha256 of a large file, git's of a small."""
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        return sha256_file(path) == etag
    if COMMIT.fullmatch(etag):
        data = path.read_bytes()
        return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest() == etag
    return True


def data_files(spec: Mapping[str, Any]) -> tuple[dict[str, Callable[[], Path]], str]:
    """What fetches each file of a data set, by name, and their commit (empty for local files).

    They are in the order of the `corpus` section, those of a pattern by name.
    """
    if not spec["repo"]:
        return {name: partial(Path, name) for name in spec["paths"]}, ""
    hub = Hub(spec["repo"], spec["revision"], kind="dataset")
    there = hub.names()
    found: dict[str, Callable[[], Path]] = {}
    for pattern in spec["paths"]:
        matching = sorted(name for name in there if fnmatchcase(name, pattern))
        if not matching:
            raise UserError(f"{hub} has no file {pattern}: correct corpus.paths")
        found |= {name: partial(hub.fetch, name) for name in matching}
    return found, hub.commit or ""
