"""A study: the grid of cells a config describes, its files, and what may be asked of it."""

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .catalogue import ALSO, FIGURES, TABLES
from .config_check import check_config
from .errors import UserError
from .paths import RESULTS, Paths, fill, format_weight_decay
from .schema import CrossedRefits
from .schema_data import DataCorpus, FilePrompts, FileTokenizer
from .source_places import Place, files_at, place_of
from .user_files import check_files


@dataclass(frozen=True)
class Refit:
    """One independent training run of a condition."""

    name: str
    init_seed: int
    data_seed: int


class Study:
    """A validated config with the cells, paths and job specifications that follow from it."""

    def __init__(self, raw: object) -> None:
        """Validate `raw` (the merged config).

        Raises:
            UserError: naming every problem of the config.
        """
        self.config = check_config(raw)
        self.name = self.config.study
        self.paths = Paths(self.name)
        refits = _refits(self.config.refits)
        self.anchor = refits[0].name
        # A fixed order: listing the same seeds differently may move the anchor, nothing else.
        self.refits = sorted(refits, key=lambda refit: (refit.init_seed, refit.data_seed))
        self.weight_decays = [format_weight_decay(value) for value in self.config.weight_decays]
        self.architectures = list(self.config.architectures)
        for figure in self.config.figures.include:
            if missing := self.lacks(figure):
                raise UserError(f"the config has 1 problem:\n  figures.include: {missing}")

    # --- the grid -------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Optimiser steps of every cell."""
        training = self.config.training
        if training.steps is not None:
            return training.steps
        return training.tokens // (training.batch * training.context)

    @property
    def checkpoint_steps(self) -> list[int]:
        """Steps whose weights are kept, the last one included."""
        return sorted({*self.config.training.checkpoint_steps, self.steps})

    @property
    def time_steps(self) -> list[str]:
        """Steps of the time course, the last one included; none if it is not configured."""
        chosen = self.config.time_course.steps
        return [str(step) for step in sorted({*chosen, self.steps})] if chosen else []

    def architectures_of(self, rule: str) -> list[str]:
        """The architectures whose cells a rule makes: most rules make those of all."""
        sources = {n: a.source for n, a in self.config.architectures.items()}
        if rule == "train":
            return [name for name, source in sources.items() if source is None]
        if rule == "import_weights":
            return [name for name, source in sources.items() if source is not None]
        if rule == "download_weights":
            return [name for name, source in sources.items() if source is not None and source.repo]
        return self.architectures

    def architecture_pattern(self, rule: str) -> str:
        """What `architecture` may be in the outputs of a rule that makes cells.

        Of names that are not configured `train` is to complain, so only those of others are left
        out there.
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
    def crossed(self) -> bool:
        """Whether refits cross init seeds with data seeds, and so are not independent."""
        return isinstance(self.config.refits, CrossedRefits)

    @property
    def untrained(self) -> bool:
        """Whether stability is measured on untrained weights, too."""
        return self.config.nulls.untrained and 0 in self.config.training.checkpoint_steps

    def untrained_files(self, pattern: str) -> list[str]:
        """What step 0 is measured in: of one weight decay, as weights start equal."""
        if not self.untrained:
            return []
        return self.every(pattern, **{**self.measured, **self.at_start})

    @property
    def at_start(self) -> dict[str, str]:
        """Wildcards of the untrained reference: at the smallest weight decay, in whatever order."""
        return {"step": "0", "weight_decay": min(self.weight_decays, key=float)}

    def values(self) -> dict[str, list[str]]:
        """Every value of the wildcards that span the grid."""
        return {
            "architecture": self.architectures,
            "weight_decay": self.weight_decays,
            "refit": self.refit_names(),
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

    @property
    def figures(self) -> list[str]:
        """Names of the figures made when none is asked for by name."""
        return self.config.figures.include or [f for f in FIGURES if self.lacks(f) is None]

    def lacks(self, figure: str) -> str | None:
        """What the study lacks to draw a figure, and the key to set; None if it can be drawn."""
        crossed = isinstance(self.config.refits, CrossedRefits) and min(
            len(self.config.refits.init_seeds), len(self.config.refits.data_seeds)
        )
        lacking = {
            "origin": (
                not crossed or crossed < 2,
                "refits that share one of their two seeds: set refits to {init_seeds: [1, 2, 3], "
                "data_seeds: [1, 2, 3]} (two seeds of each kind at least)",
            ),
            "dose": (
                len(self.weight_decays) < 2,
                "several weight decays: list them in weight_decays",
            ),
            "time_course": (
                not self.time_steps,
                "weights of several steps: list at least two in time_course.steps and in "
                "training.checkpoint_steps",
            ),
            "refits_needed": (
                bool(crossed),
                "refits that are independent of each other: give refits as a count or a list of "
                "seeds",
            ),
        }
        missing, what = lacking.get(figure, (False, ""))
        return f"{figure} needs {what}" if missing else None

    def require_figure(self, figure: str) -> None:
        """Check that a figure can be drawn.

        Raises:
            UserError: saying what the study lacks.
        """
        if missing := self.lacks(figure):
            raise UserError(f"study {self.name!r}: {missing}")

    def figure_paths(self, *figures: str) -> list[str]:
        """Every file of the named figures (without a name: of those the config includes)."""
        return [
            path
            for figure in figures or self.figures
            for pattern in self.paths.figure_files(FIGURES[figure]).values()
            for path in self.every(pattern)
        ]

    def table_paths(self) -> list[str]:
        """The tables beside the figures the config includes, and that of all heads."""
        also = (name for figure in self.figures for name in ALSO.get(figure, []))
        names = [*(FIGURES[figure] for figure in self.figures), *also, "heads"]
        return [path for name in names for path in self.every(self.paths.table_of(name))]

    def corpus_files(self) -> list[str]:
        """Files of the user's the corpus is read from."""
        corpus = self.config.corpus
        elsewhere = isinstance(corpus, DataCorpus) and corpus.repo
        return [] if elsewhere else list(getattr(corpus, "paths", []))

    def places(self, wildcards: Mapping[str, str]) -> dict[str, Place]:
        """Where the weights of an imported cell are, by step."""
        source = self.config.architectures[wildcards["architecture"]].source
        refit = next(item for item in self.refits if item.name == wildcards["refit"])
        return {
            str(step): place_of(
                source, refit.init_seed, refit.data_seed, wildcards["weight_decay"], step
            )
            for step in self.checkpoint_steps
        }

    def source_files(self, wildcards: Mapping[str, str]) -> list[str]:
        """The user's own files an imported cell is read from; none if they are on the hub."""
        return [
            path
            for place in self.places(wildcards).values()
            if not place.repo
            for path in files_at(place)
        ]

    def tokenizer_files(self) -> list[str]:
        """The user's saved tokenizer, if there is one."""
        tokenizer = self.config.tokenizer
        return [tokenizer.path] if isinstance(tokenizer, FileTokenizer) else []

    def prompt_files(self, wildcards: Mapping[str, str]) -> list[str]:
        """The user's file of the prompt set the wildcards name, if it has one."""
        prompts = self.config.prompts[wildcards["prompts"]]
        return [prompts.path] if isinstance(prompts, FilePrompts) else []

    def ablation_files(self, wildcards: Mapping[str, str]) -> list[str]:
        """What the text the wildcards name is read from: prompts, or held-out tokens."""
        if wildcards["text"] == "held_out":
            return [self.paths.tokens, self.paths.held_out_tokens]
        return [fill(self.paths.prompts, prompts=wildcards["text"])]

    def perplexity_files(self) -> list[str]:
        """Texts of the user's that perplexity is taken on."""
        return list(self.config.perplexity.texts.values())

    def atlas_refits(self) -> list[str]:
        """The refits the head atlas shows, the anchor first."""
        others = [name for name in self.refit_names() if name != self.anchor]
        return [self.anchor, *others][: self.config.atlas.refits]

    def _user_files(self) -> dict[str, str]:
        """The files the config names, with the key that names each."""
        named = {path: f"corpus.paths[{i + 1}]" for i, path in enumerate(self.corpus_files())}
        named |= dict.fromkeys(self.tokenizer_files(), "tokenizer.path")
        for cell in self.cells():
            if cell["architecture"] in self.architectures_of("import_weights"):
                key = f"architectures.{cell['architecture']}.source.path"
                named |= dict.fromkeys(self.source_files(cell), key)
        for name in self.config.prompts:
            named |= dict.fromkeys(self.prompt_files({"prompts": name}), f"prompts.{name}.path")
        for name, path in self.config.perplexity.texts.items():
            named[path] = f"perplexity.texts.{name}"
        return named

    def check_files(self) -> None:
        """Check that what the config names exists and that results can be written.

        Raises:
            UserError: as `user_files.check_files`.
        """
        check_files(self._user_files(), self.paths.root)

    # --- what is asked for ----------------------------------------------------------------

    def require(self, **wildcards: str) -> None:
        """Check that a requested file belongs to the study.

        Raises:
            UserError: a wildcard is not configured; says which key configures it and what is.
        """
        known = {
            "architecture": ("architectures", self.architectures),
            "weight_decay": ("weight_decays", self.weight_decays),
            "refit": ("refits", self.refit_names()),
            "step": (
                "training.checkpoint_steps and the last step",
                [str(step) for step in self.checkpoint_steps],
            ),
            "prompts": ("prompts", list(self.config.prompts)),
            "text": ("prompts, or held_out", [*self.config.prompts, "held_out"]),
        }
        problems = []
        for wildcard, value in wildcards.items():
            key, values = known[wildcard]
            if value not in values:
                shown = ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
                label = wildcard.replace("_", " ")
                problems.append(f"{label} {value!r} is not configured (key {key}): {shown}")
        if problems:
            raise UserError(f"study {self.name!r}: " + "; ".join(problems))

    @property
    def unknown_output_pattern(self) -> str:
        """A pattern of figures and tables that no rule makes, and of other studies' outputs."""
        made = [rf"figures/(?!(?:{_any_of(FIGURES.values())})\.(?:pdf|png)$).+"]
        made += [rf"tables/(?!(?:{_any_of(TABLES)})\.csv$).+"]
        # A study may read another's file, say its tokenizer: that is an input, not a mistake.
        others = rf"(?!{self.name}/|(?:{self._own_files(f'{RESULTS}/')})$).+"
        return f"{{unknown,{RESULTS}/(?:{self.name}/(?:{'|'.join(made)})|{others})}}"

    @property
    def unknown_target_pattern(self) -> str:
        """A pattern of short names that are no targets (and no files of the user's)."""
        return f"{{unknown,(?!(?:{self._own_files()})$)[A-Za-z0-9_-]+}}"

    def _own_files(self, prefix: str = "") -> str:
        """A pattern of the user's files under a prefix, without it; of no file if there is none."""
        paths = [
            path.removeprefix(prefix) for path in self._user_files() if path.startswith(prefix)
        ]
        return "|".join([*map(re.escape, paths), "(?!)"])

    def unknown_output(self, path: str) -> UserError:
        """The message for a file or short name that no rule makes."""
        exports = ["published", "export_transformerlens", "export_huggingface"]
        targets = ["all", "figures", "tables", "measurements", "verify", *exports, *FIGURES]
        if "/" not in path:
            close = difflib.get_close_matches(path, targets, n=1)
            guess = f" Did you mean {close[0]}?" if close else ""
            return UserError(f"there is no target {path!r}; there are {', '.join(targets)}.{guess}")
        if not path.startswith(f"{self.paths.root}/"):
            return UserError(
                f"{path} is not an output of study {self.name!r}, which this run is about: "
                "name the config of its study with --configfile"
            )
        kind, name = path.removeprefix(f"{self.paths.root}/").split("/", 1)
        known = TABLES if kind == "tables" else list(FIGURES.values())
        endings = ".csv" if kind == "tables" else ".pdf and .png"
        close = difflib.get_close_matches(name.rsplit(".", 1)[0], known, n=1)
        guess = f" Did you mean {close[0]}?" if close else ""
        return UserError(
            f"study {self.name!r} has no {kind[:-1]} {name!r}. There are, each as {endings}: "
            f"{', '.join(known)}.{guess}"
        )


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


def _any_of(names: Iterable[str]) -> str:
    return "|".join(name.format(architecture=".+", weight_decay=".+") for name in names)
