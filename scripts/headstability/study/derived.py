"""What jobs use of the config: keys of the schema, and values that follow from them.

A job names what it uses in its rule or in its row of the registry: a dotted path of the schema,
such as training.batch or prompts.{prompts}, a wildcard, such as {weight_decay}, or one of the
values of `DERIVED`. The config reaches jobs only in this way: a job depends on the keys it uses.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..conventions import ALL
from .study import Study

# A user's file up to this size counts by its whole content, a larger one by size and both ends.
WHOLE_CONTENT, CONTENT_END = 2**28, 2**20

# Derived values that are one section of the config, whose keys they have.
_SECTIONS = {"shape"}


def used(study: Study, keys: Iterable[str], wildcards: Mapping[str, str]) -> dict[str, Any]:
    """The values of keys, under their names with wildcards filled in.

    Args:
        study: the study.
        keys: dotted paths of the schema, wildcards, or names of derived values.
        wildcards: of the job.
    """
    return {key.format(**wildcards): value_of(study, key, wildcards) for key in keys}


def value_of(study: Study, key: str, wildcards: Mapping[str, str]) -> Any:
    """The value of one key, as JSON has it."""
    if key in DERIVED:
        chosen = {name: wildcards[name] for name in _wildcards(key) if name in wildcards}
        return DERIVED[key][1](study, **chosen)
    if key.startswith("{"):
        return key.format(**wildcards)
    value: Any = study.config
    for part in key.split("."):
        name = part.format(**wildcards)
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return _plain(value)


@cache
def _wildcards(key: str) -> tuple[str, ...]:
    return tuple(signature(DERIVED[key][1]).parameters)[1:]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def key_in_words(place: str, wildcards: Mapping[str, str]) -> str:
    """The config key behind a place among the values of a job, such as training.batch."""
    first, _, rest = place.partition(".")
    if first not in DERIVED:
        return place
    words, inside = DERIVED[first][0], f".{rest}" if rest and first in _SECTIONS else ""
    return words.format(**wildcards) + inside


def _shape(study: Study, architecture: str) -> dict[str, Any]:
    return study.config.architectures[architecture].shape()


def _cell_seeds(study: Study, refit: str) -> dict[str, int]:
    chosen = study.refit(refit)
    return {"init_seed": chosen.init_seed, "data_seed": chosen.data_seed}


def _places(study: Study, architecture: str, weight_decay: str, refit: str) -> dict[str, Any]:
    cell = {"architecture": architecture, "weight_decay": weight_decay, "refit": refit}
    return {step: asdict(place) for step, place in study.places(cell).items()}


def _source_content(
    study: Study, architecture: str, weight_decay: str, refit: str
) -> list[str | None]:
    cell = {"architecture": architecture, "weight_decay": weight_decay, "refit": refit}
    return [_content(path, whole=2 * CONTENT_END) for path in study.source_files(cell)]


def _source_activation(study: Study, architecture: str) -> str:
    return getattr(study.config.architectures[architecture].source, "activation", "")


def _prompts_content(study: Study, prompts: str) -> list[str | None]:
    return [_content(path) for path in study.prompt_files({"prompts": prompts})]


def _prompts_context(study: Study, prompts: str) -> int | None:
    own = study.config.prompts[prompts].type in ("file", "url")
    return study.config.training.context if own else None


def _ablated_rows(study: Study, text: str) -> list[int] | None:
    rows = [study.config.ablation.held_out_rows, study.config.training.context]
    return rows if text == "held_out" else None


def _perplexity_content(study: Study) -> dict[str, str | None]:
    return {name: _content(path) for name, path in study.config.perplexity.texts.items()}


def _own_and_no_decay(study: Study, weight_decay: str) -> list[str]:
    plain = [decay for decay in study.weight_decays if decay == "0" != weight_decay]
    return [*plain, weight_decay]


def _claims_method(study: Study) -> str:
    methods = study.config.ablation.methods
    return "zero" if "zero" in methods else methods[0]


def _content(path: str, whole: int = WHOLE_CONTENT) -> str | None:
    """What tells one content of a user's file from another, whatever its times say.

    Of files too large to read at every start, the size, the beginning and the end.

    Args:
        path: the file.
        whole: size up to which it is read wholly, at least twice CONTENT_END.
    """
    if not Path(path).is_file():
        return None
    size = Path(path).stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as handle:
        if size <= whole:
            digest.update(handle.read())
        else:
            digest.update(handle.read(CONTENT_END))
            handle.seek(-CONTENT_END, os.SEEK_END)
            digest.update(handle.read())
    return digest.hexdigest()[:16]


_SOURCE = "architectures.{architecture}.source"
# Derived values by name: words for the keys they follow from, in which {..} are wildcards, and the
# function of the study and of the wildcards it names.
DERIVED: dict[str, tuple[str, Callable[..., Any]]] = {
    # --- cells ---
    # Optimiser steps of every cell.
    "steps": ("training.steps or training.tokens", lambda study: study.steps),
    # Steps whose weights are kept, the last one included.
    "checkpoint_steps": ("training.checkpoint_steps", lambda study: study.checkpoint_steps),
    # The shape of an architecture, wherever its weights come from.
    "shape": ("architectures.{architecture}", _shape),
    # The seeds of one cell: of its initial weights, and of the order of its rows.
    "cell_seeds": ("refits", _cell_seeds),
    # Where the weights of a cell are that was trained elsewhere, by step.
    "places": (_SOURCE, _places),
    # What tells the user's own weights of a cell from others.
    "source_content": (f"{_SOURCE}.path (content of the files)", _source_content),
    # The activation that an architecture's source states, if it does.
    "source_activation": (f"{_SOURCE}.activation", _source_activation),
    # --- the study ---
    # The folder of the study, and where the config of the last run is kept.
    "root": ("study", lambda study: study.paths.root),
    "config_record": ("study", lambda study: study.paths.config),
    # --- text ---
    # What tells the user's files from others: corpus, saved tokenizer, prompts, texts by name.
    "corpus_content": (
        "corpus.paths (content of the files)",
        lambda study: [_content(path) for path in study.corpus_files()],
    ),
    "tokenizer_content": (
        "tokenizer.path (content of the file)",
        lambda study: [_content(path) for path in study.tokenizer_files()],
    ),
    "prompts_content": ("prompts.{prompts}.path (content of the file)", _prompts_content),
    "perplexity_content": ("perplexity.texts (content of the files)", _perplexity_content),
    # The token a saved tokenizer begins sequences with; None for others.
    "bos": ("tokenizer.bos", lambda study: getattr(study.config.tokenizer, "bos", None)),
    # How long prompts may be that are not cut to a length: the context; None for others.
    "prompts_context": ("training.context", _prompts_context),
    # Rows of held-out text to ablate heads on, and their length; None: on prompts.
    "ablated_rows": ("ablation.held_out_rows and training.context", _ablated_rows),
    # --- conditions ---
    # Names of the refits every condition has, by seed.
    "refit_names": ("refits", lambda study: study.refit_names()),
    # Init seed and data seed of every refit.
    "seeds": (
        "refits",
        lambda study: {refit.name: [refit.init_seed, refit.data_seed] for refit in study.refits},
    ),
    # Whether refits cross init seeds with data seeds.
    "crossed": ("refits", lambda study: study.crossed),
    # The refit shown where one is shown.
    "anchor": ("refits (the first is the anchor)", lambda study: study.anchor),
    # The anchor figures show bold, "all" for the mean of all.
    "shown_anchor": (
        "stability.anchor and refits",
        lambda study: ALL if study.config.stability.anchor == "all" else study.anchor,
    ),
    # The refits the head atlas shows, the anchor first.
    "atlas_refits": ("atlas.refits and refits", lambda study: study.atlas_refits()),
    # Residual streams that are kept, and adjusted measures: in any order the same.
    "streams": ("residual.streams", lambda study: sorted(study.config.residual.streams)),
    "null_measures": ("nulls.measures", lambda study: sorted(study.config.nulls.measures)),
    # --- tables and figures ---
    # Every condition, and names of the architectures, in the order of the config.
    "conditions": ("architectures and weight_decays", lambda study: study.conditions()),
    "architecture_names": ("architectures", lambda study: study.architectures),
    # Heads of a layer, by architecture.
    "heads": (
        "architectures",
        lambda study: {name: one.heads for name, one in study.config.architectures.items()},
    ),
    # The shape of every architecture, by name.
    "shapes": (
        "architectures",
        lambda study: {name: one.shape() for name, one in study.config.architectures.items()},
    ),
    # Weight decays as in tables and paths; colours stand for them.
    "decay_labels": ("weight_decays", lambda study: study.weight_decays),
    # Of one weight decay, also no decay if the study has it: what dead heads are judged by.
    "own_and_no_decay": ("weight_decays", _own_and_no_decay),
    # Steps of the time course.
    "time_steps": ("time_course.steps", lambda study: study.time_steps),
    # Training tokens of one step.
    "tokens_per_step": (
        "training.batch and training.context",
        lambda study: study.config.training.batch * study.config.training.context,
    ),
    # The step of untrained weights, if stability is measured on them.
    "untrained_step": (
        "nulls.untrained and training.checkpoint_steps",
        lambda study: ["0"] if study.untrained else [],
    ),
    # The weight decay untrained weights are taken from: the smallest, as weights start equal.
    "untrained_decay": ("weight_decays", lambda study: min(study.weight_decays, key=float)),
    # The method of ablation that claims are tested with.
    "claims_method": ("ablation.methods", _claims_method),
}
