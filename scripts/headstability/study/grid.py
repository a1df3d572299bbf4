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

    Architectures and weight decays (as spelled in paths) are in the order of the config, refits by
    seed; `anchor` is the refit that the config lists first. Crossed refits share seeds and so are
    not independent. `checkpoint_steps` and `time_steps` include the last step; without a time
    course the latter are empty.
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
        return list(combinations(self.values(), ["architecture", "weight_decay"]))

    def refit_names(self) -> list[str]:
        """Names of the refits every condition has, by seed."""
        return [refit.name for refit in self.refits]

    def refit(self, name: str) -> Refit:
        """A refit by its name."""
        return next(refit for refit in self.refits if refit.name == name)

    def cells(self) -> list[dict[str, str]]:
        """Wildcards of every cell, refits of a condition together."""
        return list(combinations(self.values(), self.values()))

    @property
    def measured(self) -> dict[str, str]:
        """Wildcards of what tables and figures show: the step, prompt set and ablation text."""
        prompts, text = self.config.stability.prompts, self.config.ablation.text
        return {"step": str(self.steps), "prompts": prompts, "text": text}

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
        """A pattern filled with the given wildcards (a list for several values of one).

        Wildcards of the grid that are not given take all their values.
        """
        names = dict.fromkeys(re.findall(r"\{(\w+)\}", pattern))
        values = self.values() | wildcards
        return [fill(pattern, **chosen) for chosen in combinations(values, names)]

    def atlas_refits(self) -> list[str]:
        """The refits the head atlas shows, the anchor first."""
        others = [name for name in self.refit_names() if name != self.anchor]
        return [self.anchor, *others][: self.config.atlas.refits]

    def require(self, **wildcards: str) -> None:
        """Raise a UserError if a wildcard is not configured: which key does it, and what is."""
        keys = {
            "architecture": "architectures",
            "weight_decay": "weight_decays",
            "refit": "refits",
            "step": "training.checkpoint_steps and the last step",
            "prompts": "prompts",
            "text": "prompts, or held_out",
        }
        problems, everything = [], self.everything()
        for wildcard, value in wildcards.items():
            key, values = keys[wildcard], everything[wildcard]
            if value not in values:
                shown = ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
                label = wildcard.replace("_", " ")
                problems.append(f"{label} {value!r} is not configured (key {key}): {shown}")
        if problems:
            raise UserError(f"study {self.name!r}: " + "; ".join(problems))


def combinations(values: Mapping[str, object], names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every choice of one value for each of the names; the last name changes fastest."""
    lists = [values[name] if isinstance(values[name], list) else [values[name]] for name in names]
    for chosen in itertools.product(*lists):
        yield dict(zip(names, chosen, strict=True))


def _refits(configured: int | list[int] | CrossedRefits) -> list[Refit]:
    if isinstance(configured, CrossedRefits):
        pairs: Iterable = itertools.product(configured.init_seeds, configured.data_seeds)
        return [Refit(f"init{init}-data{data}", init, data) for init, data in pairs]
    seeds = range(1, configured + 1) if isinstance(configured, int) else configured
    return [Refit(f"seed{seed}", seed, seed) for seed in seeds]
