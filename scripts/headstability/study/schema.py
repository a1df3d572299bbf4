"""The config of a study: every key with its type, range, default and description.

This is the one place config keys are declared, with `schema_data` for what comes from files.
`schema_errors` turns what pydantic finds into messages for people, `check` looks at several keys
together; `grid`, `study` and `derived` say what follows from a valid config.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from ..measures.registry import MEASURES
from .schema_base import Count, File, Name, PositiveInt, Section, Seed, only
from .schema_data import (
    BpeTokenizer,
    Corpus,
    HeldOutPrompts,
    Prompts,
    SotuCorpus,
    Source,
    Tokenizer,
)


class Architecture(Section):
    """The shape of a transformer; its context is `training.context`."""

    layers: int = Field(ge=1, le=200, description="number of layers L")
    heads: int = Field(ge=1, le=512, description="attention heads per layer H; divides d_model")
    d_model: int = Field(ge=1, le=65536, description="width of the residual stream")
    mlp: bool = Field(True, description="true: attention and MLP; false: attention-only")
    source: Source | None = Field(
        None, description="where the weights come from; null: they are trained"
    )

    def shape(self) -> dict[str, Any]:
        """The keys that shape the model, by the names of `models.shape.Shape`."""
        return self.model_dump(exclude={"source"})


class CrossedRefits(Section):
    """Init seeds crossed with data seeds: a refit for every pair, called init1-data2."""

    init_seeds: list[Seed] = Field(min_length=1, description="seeds of the initial weights")
    data_seeds: list[Seed] = Field(min_length=1, description="seeds of the order of training rows")


def _refits_form(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    forms = {int: "count", list: "seeds", dict: "crossed", CrossedRefits: "crossed"}
    return forms.get(type(value))


Refits = Annotated[
    Annotated[int, Field(ge=2, le=100_000), Tag("count")]
    | Annotated[list[Seed], Field(min_length=2), Tag("seeds")]
    | Annotated[CrossedRefits, Tag("crossed")],
    Discriminator(
        _refits_form,
        custom_error_type="refits",
        custom_error_message="give a count (at least 2), a list of seeds, or "
        "{init_seeds: [...], data_seeds: [...]}",
    ),
]


def _tuple(value: Any) -> Any:
    """YAML knows only lists."""
    return tuple(value) if isinstance(value, list) else value


Beta = Annotated[float, only(lambda beta: 0 <= beta < 1, "must be at least 0 and less than 1")]


class Training(Section):
    """How every cell is trained."""

    steps: PositiveInt | None = Field(None, description="optimiser steps; give this or tokens")
    tokens: PositiveInt | None = Field(
        None, description="training tokens, rounded down to whole steps; give this or steps"
    )
    batch: int = Field(16, ge=1, le=65536, description="rows per step")
    context: int = Field(
        128, ge=2, le=1_048_576, description="positions in a row, the beginning token included"
    )
    learning_rate: float = Field(2.0e-3, gt=0, le=10, description="peak learning rate")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up from 0")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="learning rate after the warm-up: constant, or decay to 0"
    )
    betas: Annotated[tuple[Beta, Beta], BeforeValidator(_tuple)] = Field(
        (0.9, 0.999), description="Adam's two decay rates"
    )
    clip: float | None = Field(
        None, gt=0, description="largest allowed norm of the gradient; null: no clipping"
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="of matrix products in training; weights stay float32"
    )
    compile: Literal["default", "cudagraphs"] | None = Field(
        None, description="torch.compile, and CUDA graphs; null: no compilation"
    )
    microbatch: PositiveInt | None = Field(
        None, description="rows per forward and backward pass; null: the whole batch"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a CUDA GPU where one is present, else the CPU"
    )
    log_every: PositiveInt = Field(10, description="steps between rows of the training table")
    evaluate_every: PositiveInt = Field(250, description="steps between held-out losses")
    held_out_rows: Count = Field(
        512, description="held-out rows in every evaluation, spread evenly over the held-out text"
    )
    checkpoint_steps: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], description="steps whose weights are kept beside the last step's; 0: untrained"
    )

    @property
    def last_step(self) -> int:
        """Steps of training; 0 if neither steps nor tokens for one step are given."""
        if self.steps is not None:
            return self.steps
        return (self.tokens or 0) // (self.batch * self.context)


class Stability(Section):
    """Which prompts stability is measured on, and what figures show of it."""

    prompts: Name = Field("passages", description="a prompt set of this config")
    anchor: Literal["all", "one"] = Field(
        "all", description="shown bold: the mean over all anchors, or the first refit as anchor"
    )
    commonness_self: bool = Field(
        True, description="commonness as shown compares a head with itself, too"
    )


class Ablation(Section):
    """What a removed head costs, and on which text."""

    text: Name = Field("passages", description="a prompt set of this config, or held_out")
    held_out_rows: Count = Field(32, description="rows used when text is held_out")
    methods: list[Literal["zero", "mean"]] = Field(
        default=["zero", "mean"],
        min_length=1,
        description="what takes the place of a head's z: zero, or its mean over the text",
    )
    correlation: Literal["pearson", "kendall"] = Field(
        "pearson", description="which correlation with stability the figure shows"
    )


class Residual(Section):
    """Which residual streams are kept and compared, and which CKA the figure shows."""

    streams: list[Literal["resid_mid", "resid_pre"]] = Field(
        default=["resid_mid"],
        min_length=1,
        description="streams kept in caches and compared: after attention, before the layer",
    )
    kernel: Literal["rbf", "linear"] = Field(
        "rbf", description="kernel of the CKA that the figure shows"
    )
    estimator: Literal["biased", "debiased"] = Field(
        "biased", description="estimator of HSIC of the CKA that the figure shows"
    )


class Caches(Section):
    """What becomes of activations once everything is measured on them."""

    keep: bool = Field(
        True, description="false: caches are deleted when no job of a run needs them any more"
    )


class MetaSne(Section):
    """The map of all heads of a weight decay by t-SNE."""

    perplexity: float | None = Field(
        None,
        ge=1,
        description="of t-SNE, at most (heads - 1) / 3; null: 30, or that if it is less",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of what t-SNE draws")


class Figures(Section):
    """Which figures are made and how they look; nothing here changes a number."""

    palette: str = Field(
        "colorblind", min_length=1, description="a seaborn palette, one colour a weight decay"
    )
    colormap: str = Field(
        "viridis", min_length=1, description="a matplotlib colormap for heat maps"
    )
    include: list[str] = Field(
        default=[], description="figures made when none is asked for by name; empty: all"
    )
    dpi: int = Field(200, ge=50, le=1200, description="resolution of PNGs, dots per inch")


class Perplexity(Section):
    """Perplexity of every refit on whole texts: the held-out documents, and the user's."""

    texts: dict[Name, File] = Field(
        default={}, description="UTF-8 text files by name, beside the held-out documents"
    )


class PromptLengths(Section):
    """Stability on the first tokens of prompts."""

    tokens: list[Count] | None = Field(
        None,
        min_length=1,
        description="lengths, the beginning token excluded; null: those of 5, 10, 20, 30, 40, 50 "
        "that the prompts have",
    )
    prompts: Count = Field(20, description="prompts used, the same for every length")


class Atlas(Section):
    """Patterns of an anchor's heads beside their best matches."""

    prompt: PositiveInt = Field(1, description="number of the prompt, from 1")
    heads: int = Field(6, ge=2, le=100, description="heads of the anchor at most")
    refits: int = Field(4, ge=2, le=100, description="refits shown, the anchor included")
    tokens: int = Field(16, ge=2, le=200, description="tokens of the prompt, from the first")


class TimeCourse(Section):
    """Measures over training, at some of the kept checkpoints."""

    steps: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=2,
        description="steps of training.checkpoint_steps; the last step is added; null: not made",
    )


class RefitsNeeded(Section):
    """How wide intervals are, and how many refits make them narrow enough."""

    width: float = Field(0.05, gt=0, le=2, description="wanted width of 95 % intervals of S_l")
    draws: Count = Field(200, description="random subsets of each number of refits")
    seed: Seed = Field(0, description="which subsets are drawn")


class Roles(Section):
    """What heads attend to, on the prompts of stability.prompts and on synthetic ones."""

    tokens: Count | None = Field(
        None, description="tokens of the repeated sequence; null: 25, or as many as fit twice"
    )
    prompts: Count = Field(20, description="synthetic prompts")
    seed: Seed = Field(0, description="which tokens are drawn")
    least: float = Field(0.3, gt=0, le=1, description="score from which a head has a role")


class Nulls(Section):
    """What stands beside raw stability."""

    untrained: bool = Field(
        True, description="stability at step 0 as a reference, where checkpoint_steps hold 0"
    )
    measures: list[Literal[*MEASURES]] = Field(
        default=list(MEASURES),
        description="adjusted measures beside the excess over the shuffled null",
    )


Delta = Annotated[float, Field(ge=0, le=10)]


class Claims(Section):
    """Smallest effects of interest of the five claims, set before the run."""

    middle_stability: Delta = Field(0.02, description="claim 1: ends minus middle, in S")
    middle_distinctness: Delta = Field(0.02, description="claim 1: middle minus ends, in D")
    depth: Delta = Field(0.02, description="claim 2: loss of S at mid depth per doubling of depth")
    ablation_mean: Delta = Field(0.1, description="claim 3: minus mean tau of the deep half")
    ablation_slope: Delta = Field(0.1, description="claim 3: minus slope of tau on relative depth")
    weight_decay: Delta = Field(0.02, description="claim 4: S with weight decay minus without")
    perplexity_margin: float = Field(
        0.01, gt=0, le=1, description="claim 4: relative perplexity that weight decay may cost"
    )
    stream: Delta = Field(0.05, description="claim 5: CKA of the stream minus that of z")


# It stands in names of folders, written out.
WeightDecay = Annotated[
    float,
    Field(ge=0, le=100),
    only(lambda decay: not 0 < decay < 1e-12, "give 0, or at least 1e-12"),
]


class StudyConfig(Section):
    """A whole study."""

    study: Name = Field(description="name of the study; its outputs go to results/<study>/")
    architectures: dict[Name, Architecture] = Field(
        min_length=1, description="transformers to train, by name"
    )
    refits: Refits = Field(
        4, description="a count, a list of seeds, or {init_seeds, data_seeds} to cross them"
    )
    weight_decays: list[WeightDecay] = Field(
        default=[0.0, 0.1], min_length=1, description="0 trains with Adam, above 0 with AdamW"
    )
    training: Training
    corpus: Corpus = Field(
        default_factory=lambda: SotuCorpus(type="sotu"),
        description="the text, split by document; without this section, sotu",
    )
    tokenizer: Tokenizer = Field(
        default_factory=lambda: BpeTokenizer(type="bpe"),
        description="how text becomes tokens; without this section, bpe",
    )
    prompts: dict[Name, Prompts] = Field(
        default_factory=lambda: {"passages": HeldOutPrompts(type="held_out")},
        min_length=1,
        description="prompt sets, by name; without this section, passages of type held_out",
    )
    stability: Stability = Stability()
    ablation: Ablation = Ablation()
    perplexity: Perplexity = Perplexity()
    prompt_lengths: PromptLengths = PromptLengths()
    atlas: Atlas = Atlas()
    figures: Figures = Figures()
    residual: Residual = Residual()
    caches: Caches = Caches()
    meta_sne: MetaSne = MetaSne()
    time_course: TimeCourse = TimeCourse()
    refits_needed: RefitsNeeded = RefitsNeeded()
    roles: Roles = Roles()
    nulls: Nulls = Nulls()
    claims: Claims = Claims()

    @property
    def crossed(self) -> bool:
        """Whether refits cross init seeds with data seeds, and so are not independent."""
        return isinstance(self.refits, CrossedRefits)

    @property
    def refit_count(self) -> int:
        """Refits of every condition."""
        if isinstance(self.refits, CrossedRefits):
            return len(self.refits.init_seeds) * len(self.refits.data_seeds)
        return self.refits if isinstance(self.refits, int) else len(self.refits)
