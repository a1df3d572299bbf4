"""The jobs of a study: what each rule depends on, makes, and which of its files a study expects.

Rules declare their files themselves; a test compares them with this list, which serves those who
look at a study from outside: `verify`, `why` and the parameters of rules.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from .codehash import code_hashes
from .study import FIGURES, Study


@dataclass(frozen=True)
class JobKind:
    """The jobs of one rule.

    Attributes:
        spec: what such a job depends on, from the study and the wildcards it names.
        outputs: patterns of the files it makes.
        upstream: rules whose outputs it reads.
    """

    spec: Callable[..., dict[str, Any]]
    outputs: Callable[[Study], list[str]]
    upstream: tuple[str, ...] = ()


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
    "tokenizer": JobKind(Study.tokenizer_spec, _patterns("tokenizer"), ("corpus",)),
    "tokens": JobKind(
        Study.tokens_spec, _patterns("train_tokens", "held_out_tokens", "tokens"), ("tokenizer",)
    ),
    "prompts": JobKind(Study.prompts_spec, _patterns("prompts"), ("tokens",)),
    "train": JobKind(
        Study.train_spec, _patterns("checkpoint", "training", "provenance"), ("tokens",)
    ),
    "cache": JobKind(Study.cache_spec, _patterns("cache"), ("train", "prompts")),
    "refits": JobKind(Study.refits_spec, _patterns("refits"), ("train",)),
    "stability": JobKind(
        Study.refits_spec,
        _patterns("stability_heads", "stability_pairs", "stability_matches"),
        ("cache", "refits"),
    ),
    "ablation": JobKind(Study.ablation_spec, _patterns("ablation"), ("train", "prompts")),
    "heads_table": JobKind(Study.grid_spec, _table("heads"), ("stability", "ablation")),
    "layer_stability_table": JobKind(
        Study.grid_spec, _table("layer_stability"), ("stability", "refits")
    ),
    "stability_ablation_table": JobKind(_nothing, _table("stability_ablation"), ("heads_table",)),
    "head_map_table": JobKind(Study.anchor_spec, _table(FIGURES["head_map"]), ("stability",)),
    "pairwise_table": JobKind(_nothing, _table(FIGURES["pairwise"]), ("stability",)),
    "layer_stability": JobKind(
        Study.figure_spec, _figure("layer_stability"), ("layer_stability_table",)
    ),
    "stability_ablation": JobKind(
        Study.figure_spec, _figure("stability_ablation"), ("stability_ablation_table",)
    ),
    "draw_head_map": JobKind(Study.look_spec, _figure("head_map"), ("head_map_table",)),
    "draw_pairwise": JobKind(Study.look_spec, _figure("pairwise"), ("pairwise_table",)),
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


class Parameters:
    """The parameters of all jobs of a study.

    A job's parameter holds, beside its own code and specification, a digest of those of every job
    it depends on. Snakemake alone would forget: if a job that must run again fails, its outputs
    are removed, and as nobody asks for them by name, the older tables and figures below would
    count as current the next time.
    """

    def __init__(self, study: Study, scripts: Path) -> None:
        """Hash the code of every rule.

        Args:
            study: the study.
            scripts: folder of the scripts; a rule's is <rule>.py.
        """
        self.study = study
        self.code = {rule: code_hashes(scripts / f"{rule}.py") for rule in KINDS}
        self.digests: dict[tuple, str] = {}

    def of(self, rule: str, wildcards: Mapping[str, str]) -> dict[str, Any]:
        """The parameter of one job: code, spec and a digest of all that lies upstream."""
        parameter = job_parameter(self.study, rule, wildcards, self.code[rule])
        above = sorted({self._digest(*job) for job in self._upstream(rule, wildcards)})
        return {**parameter, "upstream": _sha256("".join(above))}

    def _digest(self, rule: str, wildcards: Mapping[str, str]) -> str:
        key = (rule, *sorted(wildcards.items()))
        if key not in self.digests:
            self.digests[key] = _sha256(canonical(self.of(rule, wildcards)))
        return self.digests[key]

    def _upstream(
        self, rule: str, wildcards: Mapping[str, str]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """The jobs one job reads from: of all refits or conditions where it names none."""
        given = {**self.study.measured, **wildcards}
        for other in KINDS[rule].upstream:
            if rule == "ablation" and other == "prompts":
                if given["text"] == "held_out":
                    yield "tokens", {}
                    continue
                given = {**given, "prompts": given["text"]}
            names = _wildcard_names(self.study, other)
            if "refit" in names and "refit" not in given:
                jobs = self.study.cells()
            elif "architecture" in names and "architecture" not in given:
                jobs = self.study.conditions()
            else:
                jobs = [{}]
            for job in jobs:
                filled = {**job, **given}
                if all(filled[name] == value for name, value in job.items()):
                    yield other, {name: filled[name] for name in names}


def _wildcard_names(study: Study, rule: str) -> list[str]:
    """Names of the wildcards all outputs of a rule share."""
    patterns = KINDS[rule].outputs(study)
    shared = set.intersection(*({*re.findall(r"\{(\w+)\}", pattern)} for pattern in patterns))
    return sorted(shared)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
