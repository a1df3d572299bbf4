"""Checking a config: every problem at once, each with key, value, what is allowed and a remedy."""

import difflib
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from .errors import UserError
from .schema import NAME_PATTERN, StudyConfig

# What pydantic inserts into an error's location for the member of a union it tried.
_UNION_TAGS = {"count", "seeds", "crossed", "sotu", "text", "bpe", "file", "held_out", "[key]"}
_EXPONENT_WITHOUT_POINT = re.compile(r"^([+-]?\d+)[eE]([+-]?\d+)$")
RESERVED_PROMPTS = "held_out"


def check_config(raw: object) -> StudyConfig:
    """Validate a config as Snakemake read it.

    Args:
        raw: the merged config, a mapping.

    Raises:
        UserError: with one line for every problem found, not only the first.
    """
    if not isinstance(raw, dict):
        raise UserError("the config is not a mapping of keys to values")
    problems: list[tuple[str, str]] = []
    config = None
    try:
        config = StudyConfig.model_validate(_floats(raw))
    except ValidationError as error:
        problems += [_describe(item, raw) for item in error.errors()]
    shown = {key for key, _ in problems}
    problems += [item for item in _cross_checks(raw) if item[0] not in shown]
    if problems or config is None:
        lines = "\n".join(f"  {key}: {text}" for key, text in problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise UserError(f"the config has {count}:\n{lines}")
    return config


def _floats(value: Any) -> Any:
    """A copy with tuples where the schema has them, for YAML knows only lists."""
    value = {key: value[key] for key in value}
    training = value.get("training")
    if isinstance(training, dict) and isinstance(training.get("betas"), list):
        value["training"] = {**training, "betas": tuple(training["betas"])}
    return value


def _describe(error: Any, raw: dict) -> tuple[str, str]:
    """Turn one pydantic error into (key path, message)."""
    path, value = _path_in(raw, error["loc"])
    key = _join(path)
    kind, context = error["type"], error.get("ctx", {})
    if error["loc"] and error["loc"][-1] == "[key]" and kind == "string_pattern_mismatch":
        return key, f"the name {path[-1]!r} may hold only letters, digits, _ and - (it names a folder)"
    if kind == "extra_forbidden":
        return key, _unknown_key(path)
    if kind == "missing":
        field = _field_at(path)
        what = f" ({field.description})" if field is not None and field.description else ""
        return key, f"missing; add it{what}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _wrong_union(path, key, value, context)
    if isinstance(value, str) and (match := _EXPONENT_WITHOUT_POINT.match(value)):
        return key, f"YAML reads {value} as text; write {match[1]}.0e{match[2]}"
    hint = ""
    if isinstance(value, str) and _expects_number(kind):
        hint = "; it is text: write the number without quotes (and in a file, not with --config)"
    return key, f"{_short(value)} is not allowed: {_plain(error)}{hint}"


def _wrong_union(path: list, key: str, value: Any, context: dict) -> tuple[str, str]:
    if path and path[0] == "refits":
        return key, (
            f"{_short(value)} is not allowed: give a count (at least 2), a list of seeds, "
            "or {init_seeds: [...], data_seeds: [...]}"
        )
    if not isinstance(value, dict):
        return key, f"{_short(value)} is not allowed: give a mapping with a key 'type'"
    known = [member.model_fields["type"].annotation.__args__[0] for member in _members(path)]
    if "type" not in value:
        return f"{key}.type", f"missing; one of {', '.join(known)}"
    guess = _suggest(str(value["type"]), known)
    return f"{key}.type", f"{value['type']!r} is not one of {', '.join(known)}{guess}"


def _expects_number(kind: str) -> bool:
    return kind.startswith(("int_", "float_"))


def _plain(error: Any) -> str:
    """What is allowed, in words of the config rather than of Python."""
    kind, context = error["type"], error.get("ctx", {})
    words = {
        "int_type": "give a whole number",
        "int_from_float": "give a whole number",
        "float_type": "give a number",
        "finite_number": "give a finite number",
        "bool_type": "give true or false",
        "string_type": "give text",
        "list_type": "give a list",
        "tuple_type": "give a list of two numbers",
        "dict_type": "give a mapping",
        "model_type": "give a mapping",
    }
    if kind in words:
        return words[kind]
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        bound = next(iter(context.values()))
        return f"must be {kind.replace('_', ' ').replace('equal', 'or equal').strip()} to {bound}".replace(
            "than to", "than"
        )
    if kind == "too_short":
        return f"needs at least {context['min_length']}"
    if kind == "string_too_short":
        return "may not be empty"
    if kind == "string_pattern_mismatch":
        if context.get("pattern") == NAME_PATTERN:
            return "may hold only letters, digits, _ and -"
        return f"must match {context.get('pattern')}"
    if kind == "literal_error":
        return f"one of {context['expected']}"
    return error["msg"]


def _path_in(raw: dict, location: tuple) -> tuple[list, Any]:
    """Drop union tags from a pydantic location; also find the value it points at."""
    path: list = []
    value: Any = raw
    for part in location:
        inside = isinstance(value, dict) and part in value
        indexed = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        if not inside and not indexed:
            if part in _UNION_TAGS:
                continue
            path.append(part)
            value = None
            continue
        # A tag can equal a key's name (a prompt set called "file"); the schema decides.
        if inside and part in _UNION_TAGS and _is_union(path) and part == value.get("type"):
            continue
        path.append(part)
        value = value[part]
    return path, value


def _annotation_at(path: list) -> Any:
    """The type the schema gives to the key at `path` (None where it has none)."""
    annotation: Any = StudyConfig
    for part in path:
        following = None
        for candidate in _models(annotation) or [annotation]:
            origin = typing.get_origin(candidate)
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                field = candidate.model_fields.get(part) if isinstance(part, str) else None
                following = field.annotation if field is not None else following
            elif origin in (dict, list):
                following = typing.get_args(candidate)[-1]
        if following is None:
            return None
        annotation = following
    return annotation


def _field_at(path: list) -> Any:
    for candidate in _models(_annotation_at(path[:-1])):
        if path[-1] in candidate.model_fields:
            return candidate.model_fields[path[-1]]
    return None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every section an annotation admits, through Annotated, unions and None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _models(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [model for part in typing.get_args(annotation) for model in _models(part)]
    return []


def _members(path: list) -> list[type[BaseModel]]:
    return _models(_annotation_at(path))


def _is_union(path: list) -> bool:
    return len(_members(path)) > 1


def _unknown_key(path: list) -> str:
    known = sorted({name for model in _models(_annotation_at(path[:-1])) for name in model.model_fields})
    where = f"in {_join(path[:-1])}" if len(path) > 1 else "at the top level"
    guess = _suggest(str(path[-1]), known)
    return f"unknown key {str(path[-1])!r} {where}{guess or '; known keys: ' + ', '.join(known)}"


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(path: list) -> str:
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(the config)"


def _get(raw: dict, *path: str, kind: type | tuple = int) -> Any:
    """A value of the config if it is there and of the right type; checks skip what is not."""
    value: Any = raw
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _cross_checks(raw: dict) -> Iterator[tuple[str, str]]:
    """Problems between keys. Runs on unvalidated input so that one run reports everything."""
    yield from _check_architectures(raw)
    yield from _check_refits(raw)
    yield from _check_training(raw)
    yield from _check_prompts(raw)
    decays = _get(raw, "weight_decays", kind=list) or []
    numbers = [value for value in decays if isinstance(value, int | float)]
    yield from _repeated("weight_decays", numbers)


def _check_architectures(raw: dict) -> Iterator[tuple[str, str]]:
    for name in _get(raw, "architectures", kind=dict) or {}:
        heads = _get(raw, "architectures", name, "heads")
        width = _get(raw, "architectures", name, "d_model")
        if heads and width and heads > 0 and width % heads:
            yield (
                f"architectures.{name}.heads",
                f"{heads} heads do not divide d_model = {width}; choose a divisor of {width}",
            )


def _check_refits(raw: dict) -> Iterator[tuple[str, str]]:
    refits = raw.get("refits")
    if isinstance(refits, list):
        yield from _repeated("refits", refits)
    if isinstance(refits, dict):
        lists = []
        for key in ("init_seeds", "data_seeds"):
            seeds = _get(refits, key, kind=list)
            if seeds is not None:
                lists.append(seeds)
                yield from _repeated(f"refits.{key}", seeds)
        if len(lists) == 2 and len(lists[0]) * len(lists[1]) == 1:
            yield "refits", "only one refit; a study needs at least 2"


def _check_training(raw: dict) -> Iterator[tuple[str, str]]:
    training = _get(raw, "training", kind=dict)
    if training is None:
        return
    given = [key for key in ("steps", "tokens") if training.get(key) is not None]
    if len(given) != 1:
        what = "both are given" if given else "neither is given"
        yield "training.steps", f"{what}: give exactly one of training.steps and training.tokens"
    defaults = StudyConfig.model_fields["training"].annotation.model_fields
    batch = _get(training, "batch") if "batch" in training else defaults["batch"].default
    context = _get(training, "context") if "context" in training else defaults["context"].default
    tokens = _get(training, "tokens")
    steps = _get(training, "steps")
    if tokens and batch and context:
        steps = tokens // (batch * context)
        if steps < 1:
            yield (
                "training.tokens",
                f"{tokens} tokens are less than one step of batch x context = {batch * context}",
            )
    warmup = _get(training, "warmup_steps")
    if warmup and steps and warmup > steps:
        yield "training.warmup_steps", f"{warmup} is more than the {steps} steps of training"
    kept = _get(training, "checkpoint_steps", kind=list) or []
    for index, step in enumerate(kept):
        if steps and isinstance(step, int) and step > steps:
            yield (
                f"training.checkpoint_steps[{index + 1}]",
                f"{step} lies beyond the last step, {steps}",
            )
    yield from _repeated("training.checkpoint_steps", kept)
    for index, beta in enumerate(_get(training, "betas", kind=list) or []):
        if isinstance(beta, int | float) and not 0 <= beta < 1:
            yield f"training.betas[{index + 1}]", f"{beta} is not allowed: must lie in [0, 1)"


def _check_prompts(raw: dict) -> Iterator[tuple[str, str]]:
    prompts = _get(raw, "prompts", kind=dict)
    names = list(prompts) if prompts is not None else ["passages"]
    context = _get(raw, "training", "context") or 128
    for name in names:
        if name == RESERVED_PROMPTS:
            yield f"prompts.{name}", "this name is reserved for the held-out text; choose another"
        is_passages = _get(raw, "prompts", name, "type", kind=str) == "held_out"
        length = _get(raw, "prompts", name, "tokens")
        if is_passages and length and length + 1 > context:
            yield (
                f"prompts.{name}.tokens",
                f"{length} tokens and the beginning token do not fit training.context = {context}; "
                f"at most {context - 1}",
            )
    for key, reserved in (("stability.prompts", []), ("ablation.text", [RESERVED_PROMPTS])):
        section, field = key.split(".")
        chosen = _get(raw, section, field, kind=str)
        if chosen is None and section in raw and field in (raw[section] or {}):
            continue  # of a wrong type, which the schema reports
        chosen = "passages" if chosen is None else chosen
        known = names + reserved
        if chosen not in known:
            guess = _suggest(chosen, known)
            yield key, f"{chosen!r} is not a prompt set; one of {', '.join(known)}{guess}"


def _repeated(key: str, values: list) -> Iterator[tuple[str, str]]:
    seen: list = []
    for value in values:
        if value in seen:
            yield key, f"{value} is listed twice; list every value once"
            return
        seen.append(value)
