"""The jobs of a study: what each rule depends on, makes, and which of its files a study expects.

Rules declare their files themselves; a test compares them with this list, which serves those who
look at a study from outside: `verify`, `why` and the parameters of rules.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from .study import FIGURES, Study


@dataclass(frozen=True)
class JobKind:
    """The jobs of one rule.

    Attributes:
        spec: what such a job depends on, from the study and the wildcards it names.
        outputs: patterns of the files it makes.
    """

    spec: Callable[..., dict[str, Any]]
    outputs: Callable[[Study], list[str]]


def _everything(study: Study) -> dict[str, Any]:
    """For the job that looks at all files."""
    expected = [path for path, _ in expected_files(study)]
    possible = {path for path, _ in expected_files(study, on_request=True)}
    on_request = sorted(possible - set(expected))
    return {"root": study.paths.root, "expected": expected, "on_request": on_request}


def _nothing(study: Study) -> dict[str, Any]:
    """For jobs that depend on their inputs alone."""
    del study
    return {}


def _patterns(*names: str) -> Callable[[Study], list[str]]:
    return lambda study: [getattr(study.paths, name) for name in names]


def _table(name: str) -> Callable[[Study], list[str]]:
    return lambda study: [study.paths.table_of(name)]


def _figure(name: str) -> Callable[[Study], list[str]]:
    return lambda study: list(study.paths.figure_files(FIGURES[name]).values())


KINDS: dict[str, JobKind] = {
    "corpus": JobKind(Study.corpus_spec, _patterns("documents")),
    "tokenizer": JobKind(Study.tokenizer_spec, _patterns("tokenizer")),
    "tokens": JobKind(Study.tokens_spec, _patterns("train_tokens", "held_out_tokens", "tokens")),
    "prompts": JobKind(Study.prompts_spec, _patterns("prompts")),
    "train": JobKind(Study.train_spec, _patterns("checkpoint", "training", "provenance")),
    "cache": JobKind(Study.cache_spec, _patterns("cache")),
    "refits": JobKind(Study.refits_spec, _patterns("refits")),
    "stability": JobKind(
        Study.refits_spec, _patterns("stability_heads", "stability_pairs", "stability_matches")
    ),
    "ablation": JobKind(Study.ablation_spec, _patterns("ablation")),
    "heads_table": JobKind(Study.grid_spec, _table("heads")),
    "layer_stability_table": JobKind(Study.grid_spec, _table("layer_stability")),
    "stability_ablation_table": JobKind(_nothing, _table("stability_ablation")),
    "head_map_table": JobKind(Study.anchor_spec, _table(FIGURES["head_map"])),
    "pairwise_table": JobKind(_nothing, _table(FIGURES["pairwise"])),
    "layer_stability": JobKind(Study.figure_spec, _figure("layer_stability")),
    "stability_ablation": JobKind(Study.figure_spec, _figure("stability_ablation")),
    "draw_head_map": JobKind(Study.look_spec, _figure("head_map")),
    "draw_pairwise": JobKind(Study.look_spec, _figure("pairwise")),
    "verify": JobKind(_everything, _patterns()),
}


def job_parameter(
    study: Study, rule: str, wildcards: Mapping[str, str], code: dict[str, str]
) -> dict[str, Any]:
    """What decides whether a finished job still stands: its code and the config it uses.

    Args:
        study: the study.
        rule: name of the rule.
        wildcards: of the job.
        code: what `codehash.code_hashes` says of the rule's script, <rule>.py.
    """
    make = KINDS[rule].spec
    wanted = [name for name in signature(make).parameters if name in wildcards]
    chosen = make(study, **{name: wildcards[name] for name in wanted})
    parameter = {"code": code, "spec": chosen}
    return json.loads(canonical(parameter))  # as it is recorded: lists, not tuples


def canonical(parameter: dict[str, Any]) -> str:
    """The one text of a parameter.

    Snakemake compares parameters as a set of texts: one string with sorted keys is the way to see
    every change and nothing else.
    """
    return json.dumps(parameter, sort_keys=True)


def expected_files(study: Study, on_request: bool = False) -> Iterator[tuple[str, str]]:
    """Every file of a complete study, with the rule that makes it.

    Args:
        study: the study.
        on_request: also those that no table or figure needs but that can be asked for: other
            steps, prompt sets and ablation texts of the config.
    """
    steps = [str(step) for step in study.checkpoint_steps]
    prompts, texts = list(study.config.prompts), [*study.config.prompts, "held_out"]
    shown = study.measured
    needed = {"step": [shown["step"]], "prompts": [shown["prompts"]], "text": [shown["text"]]}
    every = {"step": steps, "prompts": prompts, "text": texts}
    used = sorted({shown["prompts"], shown["text"]} - {"held_out"})
    special = {"prompts": {"prompts": used}, "train": {"step": steps}}
    for rule, kind in KINDS.items():
        values = every if on_request else needed | special.get(rule, {})
        for pattern in kind.outputs(study):
            wildcards = re.findall(r"\{(\w+)\}", pattern)
            free = [name for name in values if name in wildcards]
            for combination in itertools.product(*(values[name] for name in free)):
                choice = dict(zip(free, combination, strict=True))
                if "refit" in wildcards:
                    paths = study.per_cell(pattern, **choice)
                elif "architecture" in wildcards:
                    paths = study.per_condition(pattern, **choice)
                else:
                    paths = [pattern.format(**choice)]
                yield from ((path, rule) for path in paths)


def wildcards_of(study: Study, rule: str, path: str) -> dict[str, str] | None:
    """The wildcards of the job of `rule` that makes `path`; None if it makes no such file."""
    for pattern in KINDS[rule].outputs(study):
        parts = re.split(r"\{(\w+)\}", pattern)
        seen: set[str] = set()
        text = ""
        for index, part in enumerate(parts):
            if index % 2 == 0:
                text += re.escape(part)
            elif part in seen:
                text += f"(?P={part})"
            else:
                seen.add(part)
                text += f"(?P<{part}>[^/]+)"
        if match := re.fullmatch(text, path):
            return match.groupdict()
    return None
