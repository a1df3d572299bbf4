"""Checking a config: every problem at once, each with key, value, what is allowed and a remedy.

The schema comes first. The checks in `CHECKS` look at several keys together: each takes a config
that the schema allows and yields problems, a key and a message.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from ..registry.rows import FIGURES
from .config_file import short, suggest
from .schema import CrossedRefits, StudyConfig
from .schema_data import HeldOutPrompts
from .schema_errors import refusal, validate
from .sources import check_sources, check_text

# Snakemake looks at every job: planning more takes too long.
MOST_CELLS, MOST_CHECKPOINTS = 20_000, 200_000
RESERVED_NAME = "held_out"
# Loading a plotting library takes a second: only for a name that is not one of these.
PALETTES = ["bright", "colorblind", "dark", "deep", "muted", "pastel"]
COLORMAPS = ["cividis", "inferno", "magma", "plasma", "viridis"]
Problems = Iterator[tuple[str, str]]


def check_config(raw: object) -> StudyConfig:
    """Validate a config as Snakemake read it.

    A UserError has a line for every problem of the schema or, if there is none, of the checks.
    """
    config = validate(raw)
    problems: dict[str, str] = {}
    for check in CHECKS:
        for key, text in check(config):
            problems.setdefault(key, text)
    if problems:
        raise refusal(problems)
    return config


def _listed(key: str, values: Iterable[Any] | None) -> Iterator[tuple[str, Any]]:
    """The values of a list of the config with their keys."""
    return ((f"{key}[{number}]", value) for number, value in enumerate(values or [], start=1))


def _unknown(name: str, kind: str, known: list[str], shown: list[str] | None = None) -> str:
    """What to say of a name that is none of those known, all of which or some are shown."""
    some = ", ".join(known if shown is None else [*shown, "..."])
    return f"{short(name)} is not {kind}; one of {some}{suggest(name, known)}"


def check_counts(config: StudyConfig) -> Problems:
    """Whether heads divide the width, and crossed seeds make at least two refits."""
    for name, shape in config.architectures.items():
        if shape.d_model % shape.heads:
            text = f"{shape.heads} heads do not divide d_model = {shape.d_model}"
            yield f"architectures.{name}.heads", f"{text}; choose a divisor of {shape.d_model}"
    if isinstance(config.refits, CrossedRefits) and config.refit_count == 1:
        yield "refits", "one init seed and one data seed make one refit; give at least 2"


def check_names(config: StudyConfig) -> Problems:
    """Names that are one on a disk that does not tell capital letters from small ones."""
    named = {"architectures": config.architectures, "prompts": config.prompts}
    for section, names in (named | {"perplexity.texts": config.perplexity.texts}).items():
        seen: dict[str, str] = {}
        for name in names:
            other = seen.setdefault(name.lower(), name)
            if other != name:
                text = "differ in capitals alone, and name the same folder or file on some disks"
                yield f"{section}.{name}", f"{name!r} and {other!r} {text}; rename one"


def check_size(config: StudyConfig) -> Problems:
    """Whether so many cells and checkpoints can be planned."""
    counts = {"refits": config.refit_count}
    counts |= {key: len(getattr(config, key)) for key in ("weight_decays", "architectures")}
    cells = math.prod(counts.values())
    steps = config.training.checkpoint_steps
    if cells > MOST_CELLS:
        largest = max(counts, key=lambda key: counts[key])
        given = short(config.model_dump(exclude_unset=True)[largest])
        text = f"{given} makes {cells} cells of this study; at most {MOST_CELLS} can be planned"
        yield largest, f"{text}: ask for less, or split the study"
    elif (checkpoints := cells * (len(steps) + 1)) > MOST_CHECKPOINTS:
        text = f"{short(steps)} makes {checkpoints} checkpoints of {cells} cells"
        most = f"at most {MOST_CHECKPOINTS} can be planned"
        yield "training.checkpoint_steps", f"{text}; {most}: list fewer steps"


def check_steps(config: StudyConfig) -> Problems:
    """How long training is, and what has to lie within it."""
    training, last = config.training, config.training.last_step
    if (training.steps is None) == (training.tokens is None):
        what = "neither is given" if training.steps is None else "both are given"
        yield "training.steps", f"{what}: give exactly one of training.steps and training.tokens"
    step = training.batch * training.context
    if training.tokens is not None and training.tokens < step:
        text = f"{training.tokens} tokens are less than one step of batch x context = {step}"
        yield "training.tokens", f"{text}; give more, or lower training.batch or training.context"
    if last == 0:
        return
    if training.warmup_steps > last:
        text = f"{training.warmup_steps} is more than the {last} steps of training"
        yield "training.warmup_steps", f"{text}; at most {last}"
    for key, step in _listed("training.checkpoint_steps", training.checkpoint_steps):
        if step > last:
            yield key, f"{step} lies beyond the last step, {last}; at most {last}"
    for key, step in _listed("time_course.steps", config.time_course.steps):
        if step not in (*training.checkpoint_steps, last):
            text = f"the weights of step {step} are not kept"
            yield key, f"{text}; add it to training.checkpoint_steps"


def check_prompts(config: StudyConfig) -> Problems:
    """Names and lengths of prompt sets and texts, and whether those that are named exist."""
    context = config.training.context
    for name, prompts in config.prompts.items():
        if name == RESERVED_NAME:
            yield f"prompts.{name}", "this name is reserved for the held-out text; choose another"
        if isinstance(prompts, HeldOutPrompts) and prompts.tokens + 1 > context:
            text = f"{prompts.tokens} tokens and the beginning token do not fit training.context"
            yield f"prompts.{name}.tokens", f"{text} = {context}; at most {context - 1}"
    known = list(config.prompts)
    if (name := config.stability.prompts) not in known:
        yield "stability.prompts", _unknown(name, "a prompt set", known)
    if (name := config.ablation.text) not in (allowed := [*known, RESERVED_NAME]):
        yield "ablation.text", _unknown(name, "a prompt set", allowed)
    if RESERVED_NAME in config.perplexity.texts:
        text = "this name is reserved for the held-out documents; choose another"
        yield f"perplexity.texts.{RESERVED_NAME}", text


def check_figures(config: StudyConfig) -> Problems:
    """Names of figures, palettes and colormaps."""
    for key, name in _listed("figures.include", config.figures.include):
        if name not in FIGURES:
            yield key, _unknown(name, "a figure", list(FIGURES))
    palette, colormap = config.figures.palette, config.figures.colormap
    if palette not in PALETTES:
        import seaborn as sns  # noqa: PLC0415

        try:
            sns.color_palette(palette, 2)
        except ValueError:
            yield "figures.palette", _unknown(palette, "a seaborn palette", PALETTES, PALETTES)
    if colormap not in COLORMAPS:
        import matplotlib as mpl  # noqa: PLC0415
        import seaborn  # noqa: F401, PLC0415 (adds its own)

        if colormap not in mpl.colormaps:
            known = list(mpl.colormaps)
            yield "figures.colormap", _unknown(colormap, "a matplotlib colormap", known, COLORMAPS)


def check_measures(config: StudyConfig) -> Problems:
    """Whether heads and prompts are enough, and prompts long enough, for what is measured."""
    perplexity = config.meta_sne.perplexity
    shapes = config.architectures.values()
    heads = config.refit_count * sum(shape.layers * shape.heads for shape in shapes)
    if perplexity is not None and perplexity > (heads - 1) / 3:
        text = f"{perplexity:g} is too large for the {heads} heads of a weight decay"
        most = f"at most (heads - 1) / 3 = {(heads - 1) / 3:.4g}, or null"
        yield "meta_sne.perplexity", f"{text}: {most}"

    name = config.stability.prompts
    prompts = config.prompts.get(name)
    if isinstance(prompts, HeldOutPrompts):
        for key, length in _listed("prompt_lengths.tokens", config.prompt_lengths.tokens):
            if length > prompts.tokens:
                text = f"{length} is more than the {prompts.tokens} tokens of prompts.{name}"
                yield key, f"{text}; at most {prompts.tokens}"
        if config.atlas.prompt > prompts.count:
            text = f"{config.atlas.prompt} is beyond the {prompts.count} prompts of prompts.{name}"
            yield "atlas.prompt", f"{text}; at most {prompts.count}"
    tokens, context = config.roles.tokens, config.training.context
    if tokens is not None and 2 * tokens + 1 > context:
        text = f"{tokens} tokens twice and the beginning token do not fit training.context"
        yield "roles.tokens", f"{text} = {context}; at most {(context - 1) // 2}, or null"


CHECKS = (
    check_counts,
    check_names,
    check_size,
    check_sources,
    check_text,
    check_steps,
    check_prompts,
    check_figures,
    check_measures,
)
