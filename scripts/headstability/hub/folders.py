"""The files of a model in the format of the Hugging Face hub, by name only."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError

# Single files and indices of shards, in the order of preference.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDICES = tuple(f"{name}.index.json" for name in WEIGHTS)
CONFIG = "config.json"
# A revision that can never mean something else.
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Folder:
    """A model's folder, its config.json and its weights files."""

    path: Path
    config: dict[str, Any]
    weights: list[Path]


def open_folder(path: str | Path) -> Folder:
    """Find a model's config and weights files; a UserError says which cannot be found or read."""
    path = Path(path)
    config = _read_json(path / CONFIG)
    if not isinstance(config.get("model_type"), str):
        raise UserError(f"{path / CONFIG} names no model_type: it is no config of transformers")
    names = weights_names(str(path), lambda name: (path / name).is_file(), lambda name: path / name)
    return Folder(path, config, [path / name for name in names if name not in INDICES])


def weights_names(
    where: str, exists: Callable[[str], bool], fetch: Callable[[str], Path]
) -> list[str]:
    """Names of the files a model's weights are in: one, or an index and the shards it lists.

    `where` names the folder or repository in messages; `fetch` gives a local path of a file that
    `exists`. A UserError says that there are none, or that the index is not one.
    """
    for single, index in zip(WEIGHTS, INDICES, strict=True):
        if exists(single):
            return [single]
        if exists(index):
            listed = _read_json(fetch(index)).get("weight_map")
            if not isinstance(listed, dict) or not listed:
                raise UserError(f"{where}/{index} lists no weights: fetch the model again")
            names = sorted({str(name) for name in listed.values()})
            for name in names:
                if Path(name).name != name or not name.isprintable() or name in ("", ".", ".."):
                    raise UserError(f"{where}/{index} lists {name!r}, which is no file beside it")
            return [index, *names]
    raise UserError(f"{where} has no weights: none of {', '.join([*WEIGHTS, *INDICES])} is there")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: it is no folder of a model") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object")
    return value
