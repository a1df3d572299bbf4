"""Saying in the user's words why a finished job would run again."""

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..storage.files import sha256_file
from ..study.derived import DERIVED, key_in_words

_ABSENT = "(not set)"


def recorded_jobs(metadata: Path) -> dict[str, dict[str, Any]]:
    """What Snakemake recorded of finished jobs in its folder, by the path of their log."""
    found = {}
    for path in filter(Path.is_file, metadata.rglob("*")):
        with suppress(ValueError, KeyError, IndexError, TypeError):
            record = json.loads(path.read_bytes())
            found[record["log"][0]] = record
    return found


def recorded_parameter(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameter a finished job had; None if it is not one of this workflow's."""
    with suppress(ValueError, KeyError, IndexError, TypeError, SyntaxError):
        parameter = json.loads(ast.literal_eval(record["params"][0]))
        return parameter if isinstance(parameter, dict) else None
    return None


def differences(old: Any, new: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Places at which what two jobs use differs, with the values there.

    Where the names in a derived value differ, only these are given.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        if place in DERIVED and old.keys() != new.keys():
            yield place, sorted(old), sorted(new)
            return
        for key in sorted({*old, *new}):
            inner = f"{place}.{key}" if place else key
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), inner)
    elif old != new:
        yield place, old, new


def parameter_reasons(
    wildcards: Mapping[str, str], old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[str]:
    """Why a job's parameter is not what it was: config keys with values, modules of the code."""
    reasons = []
    for place, before, after in differences(old.get("spec", {}), new["spec"]):
        key = key_in_words(place, wildcards)
        reasons.append(f"{key} was {_shown(before)}, is {_shown(after)}")
    for name, before, after in differences(old.get("code", {}), new["code"]):
        what = "is new" if before == _ABSENT else "is gone" if after == _ABSENT else "changed"
        reasons.append(f"the code of scripts/{name.replace('.', '/')}.py {what}")
    if not reasons and any(old.get(name) != new[name] for name in ("script", "call")):
        reasons.append("its rule was changed")
    return list(dict.fromkeys(reasons))  # several values may follow from one key


def input_reasons(record: Mapping[str, Any]) -> list[str]:
    """Inputs of a finished job whose content is no longer what the job read."""
    reasons = []
    for path, recorded in (record.get("input_checksums") or {}).items():
        if not Path(path).exists():
            reasons.append(f"{path} is gone")
        elif recorded != f"sha256:{sha256_file(path)}":
            reasons.append(f"{path} is not what it was when this was made")
    return reasons


def _shown(value: Any) -> str:
    text = value if value == _ABSENT else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
