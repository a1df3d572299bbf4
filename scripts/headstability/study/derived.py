"""What jobs use of the config: keys of the schema, and values that follow from them.

A job names what it uses in its rule or in its row of the registry: a dotted path of the schema,
such as training.batch or prompts.{prompts}, a wildcard, such as {weight_decay}, or one of the
values of `DERIVED`. The config reaches jobs only in this way: a job depends on the keys it uses.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..conventions import ALL
from .schema import Architecture
from .study import Study

# A user's file up to this size counts by its whole content, a larger one by size and both ends.
WHOLE_CONTENT, CONTENT_END = 2**28, 2**20

# Derived values that are one section of the config, whose keys they have.
_SECTIONS = {"shape"}
_Wildcards = Mapping[str, str]


def used(study: Study, keys: Iterable[str], wildcards: _Wildcards) -> dict[str, Any]:
    """The values of keys, under their names with the job's wildcards filled in."""
    return {key.format(**wildcards): value_of(study, key, wildcards) for key in keys}


def value_of(study: Study, key: str, wildcards: _Wildcards) -> Any:
    """The value of one key, as JSON has it."""
    if key in DERIVED:
        return DERIVED[key][1](study, wildcards)
    if key.startswith("{"):
        return key.format(**wildcards)
    value: Any = study.config
    for part in key.split("."):
        name = part.format(**wildcards)
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def key_in_words(place: str, wildcards: _Wildcards) -> str:
    """The config key behind a place among the values of a job, such as training.batch."""
    first, _, rest = place.partition(".")
    if first not in DERIVED:
        return place
    words, inside = DERIVED[first][0], f".{rest}" if rest and first in _SECTIONS else ""
    return words.format(**wildcards) + inside


def _architecture(study: Study, job: _Wildcards) -> Architecture:
    return study.config.architectures[job["architecture"]]


def _cell_seeds(study: Study, job: _Wildcards) -> dict[str, int]:
    refit = study.refit(job["refit"])
    return {"init_seed": refit.init_seed, "data_seed": refit.data_seed}


def _prompts_context(study: Study, job: _Wildcards) -> int | None:
    own = study.config.prompts[job["prompts"]].type in ("file", "url")
    return study.config.training.context if own else None


def _ablated_rows(study: Study, job: _Wildcards) -> list[int] | None:
    rows = [study.config.ablation.held_out_rows, study.config.training.context]
    return rows if job["text"] == "held_out" else None


def _own_and_no_decay(study: Study, job: _Wildcards) -> list[str]:
    own = job["weight_decay"]
    return [*(decay for decay in study.weight_decays if decay == "0" != own), own]


def _claims_method(study: Study, _: _Wildcards) -> str:
    methods = study.config.ablation.methods
    return "zero" if "zero" in methods else methods[0]


def _content(path: str, whole: int = WHOLE_CONTENT) -> str | None:
    """What tells one content of a user's file from another, whatever its times say.

    Of files larger than `whole`, too large to read at every start, the size and both ends.
    """
    if not Path(path).is_file():
        return None
    size = Path(path).stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as handle:
        digest.update(handle.read(-1 if size <= whole else CONTENT_END))
        if size > whole:
            handle.seek(-CONTENT_END, os.SEEK_END)
            digest.update(handle.read())
    return digest.hexdigest()[:16]


_SOURCE = "architectures.{architecture}.source"
# Derived values by name: words for the keys they follow from, in which {..} are wildcards, and the
# function of the study and of a job's wildcards.
DERIVED: dict[str, tuple[str, Callable[[Study, _Wildcards], Any]]] = {
    # --- cells ---
    "steps": ("training.steps or training.tokens", lambda study, _: study.steps),
    "checkpoint_steps": ("training.checkpoint_steps", lambda study, _: study.checkpoint_steps),
    "shape": (
        "architectures.{architecture}",
        lambda study, job: _architecture(study, job).shape(),
    ),
    "cell_seeds": ("refits", _cell_seeds),
    # Where the weights of a cell are that was trained elsewhere, by step.
    "places": (
        _SOURCE,
        lambda study, job: {step: asdict(at) for step, at in study.places(job).items()},
    ),
    "source_content": (
        f"{_SOURCE}.path (content of the files)",
        lambda study, job: [_content(p, 2 * CONTENT_END) for p in study.source_files(job)],
    ),
    # The activation that an architecture's source states, if it does.
    "source_activation": (
        f"{_SOURCE}.activation",
        lambda study, job: getattr(_architecture(study, job).source, "activation", ""),
    ),
    # --- the study ---
    "root": ("study", lambda study, _: study.paths.root),
    "config_record": ("study", lambda study, _: study.paths.config),
    # --- text ---
    "corpus_content": (
        "corpus.paths (content of the files)",
        lambda study, _: [_content(path) for path in study.corpus_files()],
    ),
    "tokenizer_content": (
        "tokenizer.path (content of the file)",
        lambda study, _: [_content(path) for path in study.tokenizer_files()],
    ),
    "prompts_content": (
        "prompts.{prompts}.path (content of the file)",
        lambda study, job: [_content(path) for path in study.prompt_files(job)],
    ),
    "perplexity_content": (
        "perplexity.texts (content of the files)",
        lambda study, _: {n: _content(p) for n, p in study.config.perplexity.texts.items()},
    ),
    # The token a saved tokenizer begins sequences with; None for others.
    "bos": ("tokenizer.bos", lambda study, _: getattr(study.config.tokenizer, "bos", None)),
    # How long prompts may be that are not cut to a length: the context; None for others.
    "prompts_context": ("training.context", _prompts_context),
    # Rows of held-out text to ablate heads on, and their length; None: on prompts.
    "ablated_rows": ("ablation.held_out_rows and training.context", _ablated_rows),
    # --- conditions ---
    "refit_names": ("refits", lambda study, _: study.refit_names()),
    # Init seed and data seed, by refit.
    "seeds": (
        "refits",
        lambda study, _: {one.name: [one.init_seed, one.data_seed] for one in study.refits},
    ),
    "crossed": ("refits", lambda study, _: study.crossed),
    "anchor": ("refits (the first is the anchor)", lambda study, _: study.anchor),
    # The anchor figures show bold, "all" for the mean of all.
    "shown_anchor": (
        "stability.anchor and refits",
        lambda study, _: ALL if study.config.stability.anchor == "all" else study.anchor,
    ),
    "atlas_refits": ("atlas.refits and refits", lambda study, _: study.atlas_refits()),
    # Residual streams that are kept, and adjusted measures: in any order the same.
    "streams": ("residual.streams", lambda study, _: sorted(study.config.residual.streams)),
    "null_measures": ("nulls.measures", lambda study, _: sorted(study.config.nulls.measures)),
    # --- tables and figures ---
    "conditions": ("architectures and weight_decays", lambda study, _: study.conditions()),
    "architecture_names": ("architectures", lambda study, _: study.architectures),
    "heads": (
        "architectures",
        lambda study, _: {name: one.heads for name, one in study.config.architectures.items()},
    ),
    "shapes": (
        "architectures",
        lambda study, _: {name: one.shape() for name, one in study.config.architectures.items()},
    ),
    "decay_labels": ("weight_decays", lambda study, _: study.weight_decays),
    # Of one weight decay, also no decay if the study has it: what dead heads are judged by.
    "own_and_no_decay": ("weight_decays", _own_and_no_decay),
    "time_steps": ("time_course.steps", lambda study, _: study.time_steps),
    "tokens_per_step": (
        "training.batch and training.context",
        lambda study, _: study.config.training.batch * study.config.training.context,
    ),
    # The step of untrained weights, if stability is measured on them.
    "untrained_step": (
        "nulls.untrained and training.checkpoint_steps",
        lambda study, _: ["0"] if study.untrained else [],
    ),
    # The weight decay untrained weights are taken from: the smallest, as weights start equal.
    "untrained_decay": ("weight_decays", lambda study, _: min(study.weight_decays, key=float)),
    # Architectures of which the same seeds are trained with several weight decays.
    "twin_architectures": (
        "weight_decays and architectures",
        lambda study, _: study.architectures if len(study.weight_decays) > 1 else [],
    ),
    "claims_method": ("ablation.methods", _claims_method),
}
