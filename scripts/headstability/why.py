"""Saying in the user's words why a finished job would run again."""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .files import sha256_file
from .kinds import DRAWN_BY

# Where the config holds what a job's specification holds, by rule; {..} are wildcards.
_SECTIONS = {
    "corpus": "corpus.",
    "tokenizer": "tokenizer.",
    "tokens": "tokenizer.",
    "prompts": "prompts.{prompts}.",
    **dict.fromkeys(DRAWN_BY.values(), "figures."),
    "evaluate": "perplexity.",
    "prefixes": "prompt_lengths.",
    "head_atlas_table": "atlas.",
    "refits_needed_table": "refits_needed.",
    "role_scores": "roles.",
    "role_stability": "roles.",
    "adjust": "nulls.",
}
# Places that are not keys of their rule's section.
_ELSEWHERE = {
    ("corpus", "content"): "corpus.paths (content of the files)",
    ("tokenizer", "content"): "tokenizer.path (content of the file)",
    ("prompts", "content"): "prompts.{prompts}.path (content of the file)",
    ("prompts", "context"): "training.context",
    ("import_weights", "content"): "architectures.{architecture}.source.path (content)",
    ("prompts", "bos"): "tokenizer.bos",
    ("prompts", "name"): "prompts",
    ("meta_sne_table", "architectures"): "architectures",
    ("residual", "kernel"): "residual.kernel",
    ("residual", "estimator"): "residual.estimator",
    **{(rule, "weight_decays"): "weight_decays" for rule in DRAWN_BY.values()},
    **{(rule, "anchor"): "stability.anchor and refits" for rule in DRAWN_BY.values()},
    ("commonness", "with_self"): "stability.commonness_self",
    ("stability_ablation", "correlation"): "ablation.correlation",
    ("evaluate", "content"): "perplexity.texts (content of the files)",
    ("evaluate", "bos"): "tokenizer.bos",
    ("evaluate", "device"): "training.device",
    ("evaluate", "context"): "training.context",
    ("prefixes", "refits"): "refits",
    ("head_atlas_table", "refits"): "atlas.refits and refits",
    ("head_atlas_table", "anchor"): "refits (the first is the anchor)",
    ("head_atlas_table", "bos"): "tokenizer.bos",
    ("refits_needed_table", "conditions"): "architectures and weight_decays",
    ("refits_needed_table", "refits"): "refits",
    ("role_scores", "device"): "training.device",
    ("role_stability", "refits"): "refits",
    ("role_stability", "seeds"): "refits",
    ("adjust", "refits"): "refits",
    ("adjusted_table", "heads"): "architectures",
    ("adjusted_table", "untrained"): "nulls.untrained and training.checkpoint_steps",
    ("claims_table", "method"): "ablation.methods",
    ("claims_table", "prompts"): "stability.prompts",
    ("claims_table", "text"): "ablation.text",
    ("claims_table", "name"): "study",
}
_KEYS = {
    "shapes": "architectures",
    "root": "study",
    "weight_decay": "weight_decays",
    "init_seed": "refits",
    "data_seed": "refits",
    "refits": "refits",
    "anchor": "refits (the first is the anchor)",
    "conditions": "architectures and weight_decays",
    "device": "training.device",
    "text": "ablation.text",
    "held_out_rows": "ablation.held_out_rows",
    "methods": "ablation.methods",
    "context": "training.context",
    "checkpoint_steps": "training.checkpoint_steps",
    "expected": "the files of the study",
    "on_request": "the files of the study",
    "streams": "residual.streams",
    "perplexity": "meta_sne.perplexity",
    "seed": "meta_sne.seed",
    "seeds": "refits",
    "learning_rate": "training.learning_rate",
    "steps": "training.steps",
    "time_steps": "time_course.steps",
    "tokens_per_step": "training.batch and training.context",
    "init_seeds": "refits",
    "crossed": "refits",
}
# What specifications of imports hold of an architecture's source.
_OF_SOURCE = {"places": "", "sha256": ".sha256", "activation": ".activation"}
# Places that hold something for every refit: which refits there are says it all.
_BY_REFIT = ("seeds", "init_seeds")
_ABSENT = "(not set)"


def recorded_jobs(metadata: Path) -> dict[str, dict[str, Any]]:
    """What Snakemake recorded of finished jobs, by the path of their log.

    Args:
        metadata: Snakemake's folder of records.
    """
    found = {}
    for path in metadata.rglob("*"):
        if path.is_file():
            try:
                record = json.loads(path.read_bytes())
                found[record["log"][0]] = record
            except (ValueError, KeyError, IndexError, TypeError):
                continue
    return found


def recorded_parameter(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameter a finished job had; None if it is not one of this workflow's."""
    try:
        parameter = json.loads(ast.literal_eval(record["params"][0]))
    except (ValueError, KeyError, IndexError, TypeError, SyntaxError):
        return None
    return parameter if isinstance(parameter, dict) else None


def config_key(rule: str, wildcards: Mapping[str, str], place: str) -> str:
    """The config key behind a place in a job's specification, such as training.batch."""
    first, _, rest = place.partition(".")
    if rule in ("download_weights", "import_weights") and first in _OF_SOURCE:
        return f"architectures.{wildcards.get('architecture')}.source{_OF_SOURCE[first]}"
    if first == "shape":
        if rest == "context":
            return "training.context"
        return f"architectures.{wildcards.get('architecture')}.{rest}".removesuffix(".")
    if (rule, first) in _ELSEWHERE:
        return _ELSEWHERE[rule, first].format(**wildcards)
    if rule in _SECTIONS:
        return _SECTIONS[rule].format(**wildcards) + place
    return _KEYS.get(first, place)


def differences(old: Any, new: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Places at which two specifications differ, with the values there."""
    if isinstance(old, dict) and isinstance(new, dict):
        if place in _BY_REFIT and old.keys() != new.keys():
            yield place, sorted(old), sorted(new)
            return
        for key in sorted({*old, *new}):
            inner = f"{place}.{key}" if place else key
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), inner)
    elif old != new:
        yield place, old, new


def parameter_reasons(
    rule: str, wildcards: Mapping[str, str], old: dict[str, Any], new: dict[str, Any]
) -> list[str]:
    """Why a job's parameter is not what it was: config keys with values, modules of the code."""
    reasons = []
    for place, before, after in differences(old.get("spec", {}), new["spec"]):
        key = config_key(rule, wildcards, place)
        reasons.append(f"{key} was {_shown(before)}, is {_shown(after)}")
    for name, before, after in differences(old.get("code", {}), new["code"]):
        what = "is new" if before == _ABSENT else "is gone" if after == _ABSENT else "changed"
        reasons.append(f"the code of scripts/{name.replace('.', '/')}.py {what}")
    return reasons


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
