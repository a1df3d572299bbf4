"""The row that the registry holds for one figure and its tables.

Functions are named as module:function below `headstability`, so that reading the registry imports
nothing. Files are named by the attributes of `study.paths.Paths`. What a function uses of the
config is named by keys of the schema, such as figures.palette, or of `study.derived`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

# What there is one figure for: the study, or every condition or weight decay of it.
STUDY, CONDITION, WEIGHT_DECAY = "", "/{architecture}/wd{weight_decay}", "/wd{weight_decay}"

# Sections of the report, which sorts them by name.
CLAIMS = "1 Claims"
HEADS = "2 Heads"
ABLATION = "3 Ablation and perplexity"
STREAMS = "4 Residual stream and weights"
QUESTIONS = "5 Questions"


@dataclass(frozen=True)
class Input:
    """Files a table is computed from, and how they reach its function."""

    source: str  # attribute of `Paths`, or the name of a table of the registry
    # Wildcards that label the rows of each file, all files being stacked in one table; none for a
    # single table; None: the function gets the paths and reads the files itself.
    labels: tuple[str, ...] | None = ()
    # Wildcards that differ from those of the study's tables, with the derived value to take.
    at: Mapping[str, str] = field(default_factory=dict)
    table: bool = False  # whether `source` is a table of the registry
    hashed: bool = True  # whether it is a file of the study, which has a hash


single = Input  # the one table of a condition
table = partial(Input, table=True)  # a table of the registry
shipped = partial(Input, hashed=False)  # a table that comes with the project


def conditions(source: str, **at: str) -> Input:
    """One table per condition, stacked; with several steps, one per condition and step."""
    return Input(source, ("architecture", "weight_decay", *(["step"] if "step" in at else [])), at)


def cells(source: str, **at: str) -> Input:
    """One table per cell, stacked, refits of a condition together."""
    return Input(source, (*(conditions(source, **at).labels or ()), "refit"), at)


def files(source: str, **at: str) -> Input:
    """The paths of files that the function reads itself."""
    return Input(source, None, at)


# Tables of twins, by architecture; none where a study has one weight decay.
TWINS = Input("twins", ("architecture",), {"architecture": "twin_architectures"})


def keys(same: str = "", **others: str) -> dict[str, str]:
    """Keys of the config by argument: `same` (space-separated) by their last part, and `others`."""
    return {key.rpartition(".")[2]: key for key in same.split()} | others


def unless(met: Callable[[Any], bool], missing: str) -> Callable[[Any], str | None]:
    """What a study lacks that does not meet a condition."""
    return lambda study: None if met(study) else missing


# What drawings use of the config: colours of weight decays, colours of numbers, the bold anchor.
PALETTE = keys("figures.palette", weight_decays="decay_labels")
COLORMAP = keys("figures.colormap")
ANCHOR = keys(anchor="shown_anchor")
# Columns: the condition; estimates with their intervals.
C = "architecture weight_decay"
INTERVAL = "estimate se low high reason"


@dataclass(frozen=True)
class Row:
    """A figure with its tables, or tables alone."""

    name: str  # of the figure, its target, its table and its caption
    title: str  # in the report
    section: str  # of the report
    # Computes the tables from `inputs` and `uses`, both by keyword: a table, or tables (and texts)
    # by name where `columns` has several names.
    function: str
    inputs: Mapping[str, Input]  # by argument
    # Of its table, space-separated, or of each table it makes, by name; None: a text, at that
    # attribute of Paths.
    columns: Mapping[str, str | None] | str
    per: str = STUDY  # what there is one figure for
    uses: Mapping[str, str] = field(default_factory=dict)  # of the config, by argument
    titles: Mapping[str, str] = field(default_factory=dict)  # of further tables in the report
    waits_for: tuple[str, ...] = ()  # attributes of Paths: files that must be there, unread
    large: bool = False  # whether the table takes so much that a cluster gets a job for it
    draw: str | None = None  # the function that draws the tables; None: there is no figure
    draws: tuple[str, ...] = ()  # further tables it gets
    look: Mapping[str, str] = field(default_factory=dict)  # of the config, by key of `look`
    # What a study lacks to draw it, with the key to set; None if nothing.
    requires: Callable[[Any], str | None] = lambda study: None
    only: str = ""  # in words, which studies have the figure
    on_request: bool = False  # whether it is made only when asked for by name
    seconds: int = 4  # that drawing takes, start-up included

    def __post_init__(self) -> None:
        if isinstance(self.columns, str):
            object.__setattr__(self, "columns", {self.name: self.columns})

    @property
    def path(self) -> str:
        """Of the figure below figures/ and of the table below tables/, with wildcards."""
        return self.name + self.per

    @property
    def subject(self) -> str:
        """What it is about, in messages of jobs: its title, with the wildcards of the job."""
        about = f"{self.title[0].lower()}{self.title[1:]}"
        of = self.of.replace("{", "{wildcards.")
        return f"{about} of {of}" if self.per == CONDITION else f"{about}, {of}".removesuffix(", ")

    @property
    def of(self) -> str:
        """The condition or weight decay it is of, in words; empty for figures of the study."""
        return self.per.removeprefix("/").replace("/", ", ").replace("wd", "wd ")

    @property
    def rule(self) -> str:
        """The rule that draws it: of several figures, the target has the name."""
        return f"draw_{self.name}" if self.per else self.name

    @property
    def table_rule(self) -> str:
        """The rule that computes its tables."""
        return self.name if self.draw is None and self.on_request else f"{self.name}_table"

    @property
    def tables(self) -> dict[str, str]:
        """Its tables by name: paths below tables/, with wildcards."""
        return {name: name + self.per for name, found in self.columns.items() if found is not None}
