"""The grid of a study: conditions and cells, their wildcards, and patterns filled with them."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from .paths import Paths, fill, format_weight_decay
from .schema import CrossedRefits, StudyConfig


@dataclass(frozen=True)
class Refit:
    """One independent training run of a condition."""

    name: str
    init_seed: int
    data_seed: int


class Grid:
    """The cells of a valid config.

    Attributes:
        config: the config.
        name: of the study.
        paths: patterns of its files.
        architectures: their names, in the order of the config.
        weight_decays: as spelled in paths, in the order of the config.
        refits: those every condition has, by seed.
        anchor: name of the refit the config lists first.
        crossed: whether refits cross init seeds with data seeds, and so are not independent.
        steps: optimiser steps of every cell.
        checkpoint_steps: steps whose weights are kept, the last one included.
        time_steps: steps of the time course, the last one included; none if it is not configured.
    """

    def __init__(self, config: StudyConfig) -> None:
        self.config = config
        self.name = config.study
        self.paths = Paths(self.name)
        self.architectures = list(config.architectures)
        self.weight_decays = [format_weight_decay(value) for value in config.weight_decays]
        refits = _refits(config.refits)
        self.anchor = refits[0].name
        # A fixed order: listing the same seeds differently may move the anchor, nothing else.
        self.refits = sorted(refits, key=lambda refit: (refit.init_seed, refit.data_seed))
        self.crossed = config.crossed
        self.steps = config.training.last_step
        self.checkpoint_steps = sorted({*config.training.checkpoint_steps, self.steps})
        chosen = config.time_course.steps
        self.time_steps = [str(step) for step in sorted({*chosen, self.steps})] if chosen else []

    def architectures_of(self, rule: str) -> list[str]:
        """The architectures whose cells a rule makes: most rules make those of all."""
        made = {
            "train": lambda source: source is None,
            "import_weights": lambda source: source is not None,
            "download_weights": lambda source: source is not None and source.repo,
        }.get(rule, lambda source: True)
        return [name for name, one in self.config.architectures.items() if made(one.source)]

    def architecture_pattern(self, rule: str) -> str:
        """What `architecture` may be in the outputs of a rule that makes cells.

        `train` takes every other name as well, so that it can say which names are configured.
        """
        if rule == "train":
            others = "|".join(self.architectures_of("import_weights"))
            return rf"(?!(?:{others})/)[^/]+" if others else "[^/]+"
        return "|".join(self.architectures_of(rule)) or "(?!)"

    def conditions(self) -> list[dict[str, str]]:
        """Wildcards of every condition, in the order of the config."""
        return [
            {"architecture": architecture, "weight_decay": decay}
            for architecture, decay in itertools.product(self.architectures, self.weight_decays)
        ]

    def refit_names(self) -> list[str]:
        """Names of the refits every condition has, by seed."""
        return [refit.name for refit in self.refits]

    def refit(self, name: str) -> Refit:
        """A refit by its name."""
        return next(refit for refit in self.refits if refit.name == name)

    def cells(self) -> list[dict[str, str]]:
        """Wildcards of every cell, refits of a condition together."""
        names = self.refit_names()
        return [{**item, "refit": name} for item in self.conditions() for name in names]

    @property
    def measured(self) -> dict[str, str]:
        """Wildcards of what tables and figures show: the step, prompt set and ablation text."""
        return {
            "step": str(self.steps),
            "prompts": self.config.stability.prompts,
            "text": self.config.ablation.text,
        }

    @property
    def untrained(self) -> bool:
        """Whether stability is measured on untrained weights, too."""
        return self.config.nulls.untrained and 0 in self.config.training.checkpoint_steps

    def values(self) -> dict[str, list[str]]:
        """Every value of the wildcards that span the grid."""
        return {
            "architecture": self.architectures,
            "weight_decay": self.weight_decays,
            "refit": self.refit_names(),
        }

    def everything(self) -> dict[str, list[str]]:
        """Every value of every wildcard that can be asked for."""
        return {
            **self.values(),
            "step": [str(step) for step in self.checkpoint_steps],
            "prompts": list(self.config.prompts),
            "text": [*self.config.prompts, "held_out"],
        }

    def every(self, pattern: str, **wildcards: object) -> list[str]:
        """A pattern filled for all values of the grid's wildcards it holds and that are not given.

        Args:
            pattern: a path.
            wildcards: values of the others, and of those that are settled; a list for several.
        """
        names = dict.fromkeys(re.findall(r"\{(\w+)\}", pattern))
        return [
            fill(pattern, **chosen) for chosen in combinations(self.values() | wildcards, names)
        ]

    def atlas_refits(self) -> list[str]:
        """The refits the head atlas shows, the anchor first."""
        others = [name for name in self.refit_names() if name != self.anchor]
        return [self.anchor, *others][: self.config.atlas.refits]

    def require(self, **wildcards: str) -> None:
        """Check that a requested file belongs to the study.

        Raises:
            UserError: a wildcard is not configured; says which key configures it and what is.
        """
        keys = {
            "architecture": "architectures",
            "weight_decay": "weight_decays",
            "refit": "refits",
            "step": "training.checkpoint_steps and the last step",
            "prompts": "prompts",
            "text": "prompts, or held_out",
        }
        problems = []
        for wildcard, value in wildcards.items():
            key, values = keys[wildcard], self.everything()[wildcard]
            if value not in values:
                shown = ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
                label = wildcard.replace("_", " ")
                problems.append(f"{label} {value!r} is not configured (key {key}): {shown}")
        if problems:
            raise UserError(f"study {self.name!r}: " + "; ".join(problems))


def combinations(values: Mapping[str, object], names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every choice of one value for each of the names.

    Args:
        values: by name, one value or a list of them.
        names: which of them to choose for; the last one changes fastest.
    """
    lists = [values[name] if isinstance(values[name], list) else [values[name]] for name in names]
    for chosen in itertools.product(*lists):
        yield dict(zip(names, chosen, strict=True))


def _refits(configured: int | list[int] | CrossedRefits) -> list[Refit]:
    if isinstance(configured, CrossedRefits):
        pairs: Iterable = itertools.product(configured.init_seeds, configured.data_seeds)
        return [Refit(f"init{init}-data{data}", init, data) for init, data in pairs]
    seeds = range(1, configured + 1) if isinstance(configured, int) else configured
    return [Refit(f"seed{seed}", seed, seed) for seed in seeds]
