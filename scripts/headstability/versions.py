"""Noticing that the installed torch is not the one a study was trained with."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .errors import UserError
from .files import read_json
from .study import Study


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
