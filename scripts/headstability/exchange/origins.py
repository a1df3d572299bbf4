"""The files of an imported cell on this machine: the user's own, or downloaded ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

from ..errors import DamagedFile
from ..hub.tensors import check_sha256
from ..storage.files import read_json
from .importing import Origin


def origins_of(
    spec: Mapping[str, Any], download: str | Path | None
) -> tuple[dict[str, Origin], dict[str, Any]]:
    """Where the weights of each step are: an origin by step, and the source for the provenance.

    `spec` has `places`, `activation` and `sha256`; `download` is the file a download left, or None
    for local files. Raises UserError if a file in the cache is not what was downloaded, and
    DamagedFile, after which the download is repeated, if files have gone from the cache.
    """
    activation = spec["activation"]
    if download is None:
        origins = {
            step: Origin(place["type"], Path(place["path"]), place["path"], activation)
            for step, place in spec["places"].items()
        }
        return origins, {"places": spec["places"]}
    steps = read_json(download)["steps"]
    origins, source = {}, {}
    for step, place in spec["places"].items():
        fetched = steps[step]
        repo, commit = fetched["repo"], fetched["revision"]
        paths = []
        for name, recorded in fetched["files"].items():
            found = try_to_load_from_cache(repo, name, revision=commit)
            if not isinstance(found, str) or not Path(found).exists():
                reason = f"{name} of {repo} at {commit} has gone from the cache of the hub"
                raise DamagedFile(download, reason)
            check_sha256(found, recorded["sha256"], f"{repo}/{name} in the cache ({found})")
            paths.append(Path(found))
        path = paths[0] if place["type"] == "transformerlens" else paths[0].parent
        label = "/".join(part for part in (repo, place["path"]) if part)
        origins[step] = Origin(place["type"], path, label, activation)
        source[step] = {**place, "revision": commit}
    return origins, {"places": source}
