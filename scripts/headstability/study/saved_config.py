"""The config a study was last run with, kept beside its results: a study's folder says what it is.

Every run writes it before its first job, so what looks at a finished study (`access`) needs neither
the config file it was run with nor the repository around it.
"""

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
    """Write a run's config, unless it is there already.

    Args:
        path: the record, in the folder of the study.
        config: the merged config, as Snakemake has it; its order counts.
    """
    text = _HEADER + yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)
    path = Path(path)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def recorded_config(path: str | Path) -> dict[str, Any]:
    """The config of a study's last run.

    Raises:
        UserError: there is none.
        DamagedFile: it was altered since.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing, the record of what the study was run with") from None
    except UnicodeDecodeError as error:
        raise DamagedFile(path, f"not text ({error})") from error
    check_sidecar(path)
    return yaml.safe_load(text)


def _plain(value: Any) -> Any:
    """Plain dicts and lists: Snakemake may wrap them in its own types."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def torch_note(study: Study) -> str | None:
    """A warning if the study's first finished cell was trained with another torch; else None.

    A new version rebuilds nothing by itself: finished cells stand, with their version in their
    provenance. Only one file is read, so that a study of a thousand cells starts as fast.
    """
    first = next((p for p in study.every(study.paths.provenance) if Path(p).exists()), None)
    if first is None:
        return None
    try:
        installed = version("torch")
    except PackageNotFoundError:
        return None  # rules bring their own environments
    try:
        used = read_json(first)["torch_versions"]
    except UserError:
        return None  # the rule that needs the file says what is wrong with it
    if installed in used:
        return None
    return (
        f"Note: {first} was trained with torch {' and '.join(used)}, installed is {installed}. "
        "Finished cells stand; new ones may differ from them in the last bits. To train all again: "
        "snakemake --forcerun train"
    )
