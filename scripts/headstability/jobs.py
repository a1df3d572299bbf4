"""The jobs of a study: their parameters, and which of their files a study expects."""

import hashlib
import json
import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

from .catalogue import FIGURES
from .codehash import code_hashes
from .kinds import DRAWN_BY, KINDS, JobKind
from .study import Study, combinations

# Rules whose jobs of step 0 the untrained reference needs.
UNTRAINED = ("cache", "similarity", "stability")

# The rules that make cells, each those of other architectures.
MAKERS = ("train", "import_weights")


def everything(study: Study) -> dict[str, Any]:
    """Specification of the job that looks at all files."""
    expected = [path for path, _ in expected_files(study)]
    possible = {path for path, _ in expected_files(study, on_request=True)}
    on_request = sorted(possible - set(expected))
    return {"root": study.paths.root, "expected": expected, "on_request": on_request}


# Every rule with a script: those that make files, and the one that looks at all of them.
RULES = ChainMap(KINDS, {"verify": JobKind(everything, lambda study: [])})


@cache
def _names(function: Callable) -> tuple[str, ...]:
    return tuple(signature(function).parameters)


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
    make = RULES[rule].spec
    chosen = make(study, **{name: wildcards[name] for name in _names(make) if name in wildcards})
    parameter = {"code": code, "spec": chosen}
    return json.loads(canonical(parameter))  # as it is recorded: lists, not tuples


class Parameters:
    """The parameters of all jobs of a study.

    A job's parameter holds, beside its own code and specification, a digest of those of every job
    it depends on. Snakemake alone would forget: if a job that must run again fails, its outputs
    are removed, and as nobody asks for them by name, the older tables and figures below would
    count as current the next time.
    """

    def __init__(
        self, study: Study, scripts: Path, code: dict[str, dict[str, str]] | None = None
    ) -> None:
        """Hash the code of every rule.

        Args:
            study: the study.
            scripts: folder of the scripts; a rule's is <rule>.py.
            code: the hashes, if they are known: a job on another node takes those of its run.
        """
        self.study = study
        if code is None:
            code = {rule: code_hashes(scripts / f"{rule}.py") for rule in RULES}
        self.code = code
        self._texts: dict[tuple, str] = {}
        self._digests: dict[tuple, str] = {}
        self._wildcards = {rule: _wildcard_names(study, rule) for rule in KINDS}

    def of(self, rule: str, wildcards: Mapping[str, str]) -> dict[str, Any]:
        """The parameter of one job: code, spec and a digest of all that lies upstream."""
        parameter = job_parameter(self.study, rule, wildcards, self.code[rule])
        above = sorted({self._digest(*job) for job in self._upstream(rule, wildcards)})
        return {**parameter, "upstream": _sha256("".join(above))}

    def text(self, rule: str, wildcards: Mapping[str, str]) -> str:
        """The canonical text of the parameter of one job; asked for often, made once."""
        key = (rule, *sorted(wildcards.items()))
        if key not in self._texts:
            self._texts[key] = canonical(self.of(rule, wildcards))
        return self._texts[key]

    def _digest(self, rule: str, wildcards: Mapping[str, str]) -> str:
        key = (rule, *sorted(wildcards.items()))
        if key not in self._digests:
            self._digests[key] = _sha256(self.text(rule, wildcards))
        return self._digests[key]

    def _upstream(
        self, rule: str, wildcards: Mapping[str, str]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """The jobs one job reads from: of all refits or conditions where it names none."""
        for other in RULES[rule].upstream:
            given = {**self.study.measured, **wildcards}
            if RULES[rule].steps:
                given["step"] = RULES[rule].steps(self.study)
            if rule == "ablation" and other == "prompts":
                if given["text"] == "held_out":
                    yield "tokens", {}
                    continue
                given["prompts"] = given["text"]
            for chosen in combinations(self.study.values() | given, self._wildcards[other]):
                for maker in _makers(other):
                    architecture = chosen.get("architecture")
                    if architecture is None or architecture in self.study.architectures_of(maker):
                        yield maker, chosen


def _makers(rule: str) -> tuple[str, ...]:
    """The rules that make what `rule` makes: cells are trained or imported."""
    return MAKERS if rule == "train" else (rule,)


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


def wanted_rules(*figures: str) -> set[str]:
    """Rules behind figures, and behind the table of all heads."""
    return _with_upstream(*(DRAWN_BY[figure] for figure in figures), "heads_table")


def undrawn_rules(study: Study) -> set[str]:
    """Rules behind nothing but figures that the study cannot draw."""
    possible = [figure for figure in FIGURES if study.lacks(figure) is None]
    return wanted_rules(*FIGURES) - wanted_rules(*possible)


def _with_upstream(*rules: str) -> set[str]:
    """Rules and all they rest on."""
    waiting, found = list(rules), set()
    while waiting:
        rule = waiting.pop()
        if rule not in found:
            found.add(rule)
            waiting += [maker for other in KINDS[rule].upstream for maker in _makers(other)]
    return found


def expected_files(
    study: Study, on_request: bool = False, deleted: bool = False
) -> Iterator[tuple[str, str]]:
    """Every file of a complete study, with the rule that makes it.

    Args:
        study: the study.
        on_request: also those that no table or figure of the study needs but that can be asked
            for: other figures, steps, prompt sets and ablation texts of the config.
        deleted: also caches that are deleted once everything is measured on them.
    """
    steps = [str(step) for step in study.checkpoint_steps]
    wanted, undrawn = wanted_rules(*study.figures), undrawn_rules(study)
    prompts, texts = list(study.config.prompts), [*study.config.prompts, "held_out"]
    every = {"step": steps, "prompts": prompts, "text": texts}
    used = sorted({study.measured["prompts"], study.measured["text"]} - {"held_out"})
    special: dict[str, dict] = {
        "prompts": {"prompts": used},
        "train": {"step": steps},
        "import_weights": {"step": steps},
    }
    for rule in wanted:
        for below in _with_upstream(*KINDS[rule].upstream) if KINDS[rule].steps else ():
            special.setdefault(below, {}).setdefault("step", KINDS[rule].steps(study))
    untrained = study.untrained and "adjusted_table" in wanted
    if not (study.config.caches.keep or deleted):
        wanted.discard("cache")
    for rule, kind in KINDS.items():
        if rule in undrawn if on_request else rule not in wanted:
            continue
        values = study.values() | study.measured
        values |= {"architecture": study.architectures_of(rule)}
        values |= every if on_request else special.get(rule, {})
        places = [values]
        if rule in UNTRAINED and untrained and not on_request:
            places.append(values | study.at_start)
        for pattern in kind.outputs(study):
            # The time course may hold the untrained step, too.
            paths = (path for place in places for path in study.every(pattern, **place))
            yield from ((path, rule) for path in dict.fromkeys(paths))


def job_count(study: Study, rule: str, paths: Iterable[str]) -> int:
    """How many jobs of a rule make these files of its."""
    names = _wildcard_names(study, rule)
    wildcards = [wildcards_of(study, rule, path) or {} for path in paths]
    return len({tuple(values.get(name) for name in names) for values in wildcards})


def measurement_paths(study: Study) -> list[str]:
    """What the study's tables rest on, as far as it is small."""
    return [path for path, rule in expected_files(study) if KINDS[rule].measures]


def wildcards_of(study: Study, rule: str, path: str) -> dict[str, str] | None:
    """The wildcards of the job of `rule` that makes `path`; None if it makes no such file."""
    for pattern in RULES[rule].outputs(study):
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
            found = match.groupdict()
            elsewhere = [other for other in MAKERS if rule in MAKERS and other != rule]
            made = [name for other in elsewhere for name in study.architectures_of(other)]
            return None if found.get("architecture") in made else found
    return None
