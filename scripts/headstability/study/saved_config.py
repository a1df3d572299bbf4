"""The config a study was last run with, kept beside its results.

What looks at a finished study (`access`) needs neither its config file nor the repository.
"""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from ..errors import DamagedFile, UserError
from ..storage.files import check_sidecar, read_json, write_text
from .study import Study

_HEADER = "# What this study was last run with; --configfile takes this file as it is.\n"


def record_config(path: str | Path, config: Mapping[str, Any]) -> None:
    """Write a run's merged config, whose order counts, unless it is there already."""
    plain = json.loads(json.dumps(config))  # Snakemake may wrap dicts and lists in its own types
    text = _HEADER + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    path = Path(path)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def recorded_config(path: str | Path) -> dict[str, Any]:
    """The config of a study's last run; a UserError if there is none, or it was altered since."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing, the record of what the study was run with") from None
    except UnicodeDecodeError as error:
        raise DamagedFile(path, f"not text ({error})") from error
    check_sidecar(path)
    return yaml.safe_load(text)


def torch_note(study: Study) -> str | None:
    """A warning if the study's first finished cell was trained with another torch; else None.

    A new version rebuilds nothing by itself. Only one file is read, however many cells there are.
    """
    first = next((p for p in study.every(study.paths.provenance) if Path(p).exists()), None)
    if first is None:
        return None
    try:
        installed, used = version("torch"), read_json(first)["torch_versions"]
    except (PackageNotFoundError, UserError):
        return None  # rules bring torch themselves; the rule that needs the file says what is wrong
    if installed in used:
        return None
    return (
        f"Note: {first} was trained with torch {' and '.join(used)}, installed is {installed}. "
        "Finished cells stand; new ones may differ from them in the last bits. To train all again: "
        "snakemake --forcerun train"
    )
