"""The files of a corpus that is a data set: local ones, or those of a repository of the hub."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UserError


def data_files(spec: Mapping[str, Any]) -> tuple[dict[str, Callable[[], Path]], str]:
    """The files of a data set, in the order of the config; those of a pattern by name.

    Args:
        spec: the `corpus` section of the config.

    Returns:
        What makes each file available on this machine, by name, and the commit they are of (empty
        for local files).

    Raises:
        UserError: the hub cannot be reached, or has no such repository, revision or file.
    """
    if not spec["repo"]:
        return {name: partial(Path, name) for name in spec["paths"]}, ""
    from .download import Hub  # noqa: PLC0415 - slow to import, seldom needed

    hub = Hub(spec["repo"], spec["revision"], kind="dataset")
    there = hub.names()
    found: dict[str, Callable[[], Path]] = {}
    for pattern in spec["paths"]:
        matching = sorted(name for name in there if fnmatchcase(name, pattern))
        if not matching:
            raise UserError(f"{hub} has no file {pattern}: correct corpus.paths")
        found |= {name: partial(hub.fetch, name) for name in matching}
    return found, hub.commit or ""
