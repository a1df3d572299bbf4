"""Problems between keys of the config, each with its key and a remedy."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from .catalogue import FIGURES
from .config_words import short, suggest
from .schema import Architecture, StudyConfig, Training
from .schema_data import HeldOutPrompts
from .size_rules import check_sizes
from .source_rules import check_corpus, check_hub, check_sources

RESERVED_PROMPTS = "held_out"


def cross_checks(raw: dict) -> Iterator[tuple[str, str]]:
    """Problems between keys. Runs on unvalidated input so that one run reports everything."""
    yield from _check_architectures(raw)
    yield from check_sizes(raw)
    yield from check_sources(raw)
    yield from check_corpus(raw)
    yield from check_hub(raw)
    yield from _check_refits(raw)
    yield from _check_training(raw)
    yield from _check_prompts(raw)
    yield from _check_figures(raw)
    yield from _check_look(raw)
    yield from _check_streams(raw)
    yield from _check_measurements(raw)
    yield from _check_questions(raw)
    yield from _repeated("weight_decays", _get(raw, "weight_decays", kind=list) or [])
    yield from _repeated("corpus.paths", _get(raw, "corpus", "paths", kind=list) or [])


def _check_architectures(raw: dict) -> Iterator[tuple[str, str]]:
    for name, shape in (_get(raw, "architectures", kind=dict) or {}).items():
        heads, width = (_positive(shape, key, Architecture) for key in ("heads", "d_model"))
        if heads and width and width % heads:
            yield (
                f"architectures.{name}.heads",
                f"{heads} heads do not divide d_model = {width}; choose a divisor of {width}",
            )


def _check_refits(raw: dict) -> Iterator[tuple[str, str]]:
    refits = raw.get("refits")
    if isinstance(refits, list):
        yield from _repeated("refits", refits)
    if isinstance(refits, dict):
        counts = []
        for key in ("init_seeds", "data_seeds"):
            seeds = _get(refits, key, kind=list) or []
            counts.append(len(seeds))
            yield from _repeated(f"refits.{key}", seeds)
        if counts == [1, 1]:
            yield "refits", "one init seed and one data seed make one refit; give at least 2"


def _check_training(raw: dict) -> Iterator[tuple[str, str]]:
    training = _get(raw, "training", kind=dict)
    if training is None:
        return
    given = [key for key in ("steps", "tokens") if training.get(key) is not None]
    if len(given) != 1:
        what = "both are given" if given else "neither is given"
        yield "training.steps", f"{what}: give exactly one of training.steps and training.tokens"
    batch, context = (_positive(training, key, Training) for key in ("batch", "context"))
    tokens = _positive(training, "tokens", Training)
    steps = _positive(training, "steps", Training)
    if tokens and batch and context:
        steps = tokens // (batch * context)
        if steps < 1:
            yield (
                "training.tokens",
                f"{tokens} tokens are less than one step of batch x context = {batch * context}; "
                "give more, or lower training.batch or training.context",
            )
    warmup = _get(training, "warmup_steps")
    if warmup and steps and warmup > steps:
        yield (
            "training.warmup_steps",
            f"{warmup} is more than the {steps} steps of training; at most {steps}",
        )
    kept = _get(training, "checkpoint_steps", kind=list) or []
    for index, step in enumerate(kept):
        if steps and isinstance(step, int) and step > steps:
            yield (
                f"training.checkpoint_steps[{index + 1}]",
                f"{step} lies beyond the last step, {steps}; at most {steps}",
            )
    yield from _repeated("training.checkpoint_steps", kept)
    for index, beta in enumerate(_get(training, "betas", kind=list) or []):
        if isinstance(beta, int | float) and not 0 <= beta < 1:
            yield (
                f"training.betas[{index + 1}]",
                f"{beta} is not allowed: must be at least 0 and less than 1",
            )


def _check_prompts(raw: dict) -> Iterator[tuple[str, str]]:
    prompts = raw.get("prompts", {"passages": {"type": "held_out"}})
    if not isinstance(prompts, dict) or not prompts:
        return  # which the schema reports
    context = _positive(raw.get("training"), "context", Training)
    for name, chosen in prompts.items():
        if name == RESERVED_PROMPTS:
            yield f"prompts.{name}", "this name is reserved for the held-out text; choose another"
        is_passages = _get(prompts, name, "type", kind=str) == "held_out"
        length = _positive(chosen, "tokens", HeldOutPrompts) if is_passages else None
        if length and context and length + 1 > context:
            yield (
                f"prompts.{name}.tokens",
                f"{length} tokens and the beginning token do not fit training.context = {context}; "
                f"at most {context - 1}",
            )
    chosen_sets = (("stability", "prompts", []), ("ablation", "text", [RESERVED_PROMPTS]))
    for section, field, reserved in chosen_sets:
        given = raw.get(section, {})
        name = given.get(field, "passages") if isinstance(given, dict) else None
        known = [*prompts, *reserved]
        if isinstance(name, str) and name not in known:
            one_of = f"one of {', '.join(known)}{suggest(name, known)}"
            yield f"{section}.{field}", f"{short(name)} is not a prompt set; {one_of}"


def _check_figures(raw: dict) -> Iterator[tuple[str, str]]:
    chosen = _get(raw, "figures", "include", kind=list) or []
    for index, name in enumerate(chosen):
        if isinstance(name, str) and name not in FIGURES:
            guess = suggest(name, list(FIGURES))
            yield (
                f"figures.include[{index + 1}]",
                f"{short(name)} is not a figure; one of {', '.join(FIGURES)}{guess}",
            )
    yield from _repeated("figures.include", chosen)


# Loading a plotting library takes a second: only for a name that is not one of these.
_PALETTES = {"deep", "muted", "bright", "pastel", "dark", "colorblind"}
_COLORMAPS = {"viridis", "magma", "inferno", "plasma", "cividis"}


def _check_look(raw: dict) -> Iterator[tuple[str, str]]:
    palette = _get(raw, "figures", "palette", kind=str)
    if palette and palette not in _PALETTES:
        import seaborn as sns  # noqa: PLC0415

        try:
            sns.color_palette(palette, 2)
        except ValueError:
            guess = suggest(palette, sorted(_PALETTES))
            known = ", ".join(sorted(_PALETTES))
            yield (
                "figures.palette",
                f"{short(palette)} is not a seaborn palette; one of {known}, ...{guess}",
            )
    colormap = _get(raw, "figures", "colormap", kind=str)
    if colormap and colormap not in _COLORMAPS:
        import matplotlib as mpl  # noqa: PLC0415
        import seaborn  # noqa: F401, PLC0415 (adds its own)

        if colormap not in mpl.colormaps:
            known = ", ".join(sorted(_COLORMAPS))
            guess = suggest(colormap, list(mpl.colormaps))
            text = f"{short(colormap)} is not a matplotlib colormap; one of {known}, ...{guess}"
            yield "figures.colormap", text


def _check_streams(raw: dict) -> Iterator[tuple[str, str]]:
    yield from _repeated("residual.streams", _get(raw, "residual", "streams", kind=list) or [])
    perplexity = _get(raw, "meta_sne", "perplexity", kind=int | float)
    heads = _heads(raw)
    if perplexity is None or heads is None or perplexity <= (heads - 1) / 3:
        return
    largest = f"at most (heads - 1) / 3 = {(heads - 1) / 3:.4g}"
    yield (
        "meta_sne.perplexity",
        f"{perplexity:g} is too large for the {heads} heads of a weight decay: {largest}, or null",
    )


def _heads(raw: dict) -> int | None:
    """Heads of all refits of all architectures; None where the config does not say."""
    shapes = (_get(raw, "architectures", kind=dict) or {}).values()
    sizes = [[_positive(s, key, Architecture) for key in ("layers", "heads")] for s in shapes]
    refits = raw.get("refits", StudyConfig.model_fields["refits"].default)
    if isinstance(refits, dict):
        counts = [len(_get(refits, key, kind=list) or []) for key in ("init_seeds", "data_seeds")]
        refits = counts[0] * counts[1]
    elif isinstance(refits, list):
        refits = len(refits)
    if not refits or not isinstance(refits, int) or not all(map(all, sizes)):
        return None
    return refits * sum(layers * heads for layers, heads in sizes) or None


def _check_measurements(raw: dict) -> Iterator[tuple[str, str]]:
    """What is measured on prompts and texts, against what the config says of them."""
    yield from _repeated("nulls.measures", _get(raw, "nulls", "measures", kind=list) or [])
    yield from _repeated("ablation.methods", _get(raw, "ablation", "methods", kind=list) or [])
    if RESERVED_PROMPTS in (_get(raw, "perplexity", "texts", kind=dict) or {}):
        yield (
            f"perplexity.texts.{RESERVED_PROMPTS}",
            "this name is reserved for the held-out documents; choose another",
        )
    lengths = _get(raw, "prompt_lengths", "tokens", kind=list) or []
    yield from _repeated("prompt_lengths.tokens", lengths)
    name = _get(raw, "stability", "prompts", kind=str) or "passages"
    chosen = raw.get("prompts", {"passages": {"type": "held_out"}})
    if _get(chosen if isinstance(chosen, dict) else {}, name, "type", kind=str) != "held_out":
        return
    tokens, count = (_positive(chosen[name], key, HeldOutPrompts) for key in ("tokens", "count"))
    for index, length in enumerate(lengths):
        if tokens and isinstance(length, int) and length > tokens:
            yield (
                f"prompt_lengths.tokens[{index + 1}]",
                f"{length} is more than the {tokens} tokens of prompts.{name}; at most {tokens}",
            )
    prompt = _get(raw, "atlas", "prompt")
    if count and prompt and prompt > count:
        yield (
            "atlas.prompt",
            f"{prompt} is beyond the {count} prompts of prompts.{name}; at most {count}",
        )


def _check_questions(raw: dict) -> Iterator[tuple[str, str]]:
    """Steps that were not kept, and sequences that do not fit."""
    chosen = _get(raw, "time_course", "steps", kind=list) or []
    yield from _repeated("time_course.steps", chosen)
    kept = _get(raw, "training", "checkpoint_steps", kind=list) or []
    last = _last_step(raw)
    for index, step in enumerate(chosen):
        if isinstance(step, int) and last and step not in (*kept, last):
            yield (
                f"time_course.steps[{index + 1}]",
                f"the weights of step {step} are not kept; add it to training.checkpoint_steps",
            )
    tokens, context = (
        _get(raw, "roles", "tokens"),
        _positive(raw.get("training"), "context", Training),
    )
    if tokens and context and 2 * tokens + 1 > context:
        yield (
            "roles.tokens",
            f"{tokens} tokens twice and the beginning token do not fit training.context = "
            f"{context}; at most {(context - 1) // 2}, or null",
        )


def _last_step(raw: dict) -> int | None:
    """The last step of training; None where the config does not say."""
    training = raw.get("training")
    steps, tokens, batch, context = (
        _positive(training, key, Training) for key in ("steps", "tokens", "batch", "context")
    )
    if steps or not (tokens and batch and context):
        return steps
    return tokens // (batch * context)


def _positive(section: Any, key: str, model: type[BaseModel]) -> int | None:
    """A count of a section, or its default; None where it is no whole number above 0."""
    if not isinstance(section, dict):
        return None
    value = section.get(key, model.model_fields[key].default)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _repeated(key: str, values: list) -> Iterator[tuple[str, str]]:
    """A problem if a number or text is listed twice; other values the schema reports."""
    seen: list = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        if value in seen:
            yield key, f"{short(value)} is listed twice; list every value once"
            return
        seen.append(value)


def _get(raw: dict, *path: str, kind: type | tuple = int) -> Any:
    """A value of the config if it is there and of the right type; checks skip what is not."""
    value: Any = raw
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
