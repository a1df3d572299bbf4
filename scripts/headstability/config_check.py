"""Checking a config: every problem at once, each with key, value, what is allowed and a remedy."""

import datetime
import math
import re
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from .config_rules import cross_checks
from .config_words import join, short, suggest
from .errors import UserError
from .schema import StudyConfig
from .schema_base import PATTERNS

# YAML takes a number with an exponent for text unless it has both a point and the exponent's sign.
_EXPONENT = re.compile(r"^([+-]?)(\d+\.?\d*|\.\d+)[eE]([+-]?)(\d+)$")
# Escapes of JSON and YAML can spell halves of pairs.
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_config(raw: object) -> StudyConfig:
    """Validate a config as Snakemake read it.

    Args:
        raw: the merged config, a mapping.

    Raises:
        UserError: with one line for every problem found, not only the first.
    """
    if not isinstance(raw, dict):
        raise UserError("the config is not a mapping of keys to values")
    raw, unquoted = _with_text_keys(raw, [])
    problems: dict[str, str] = {}
    config = None
    try:
        config = StudyConfig.model_validate(_floats(raw))
    except ValidationError as error:
        for key, text in (_describe(item, raw) for item in error.errors()):
            problems.setdefault(key, text)  # of a wrong name that holds a wrong value, the first
    for key, text in [*unquoted, *cross_checks(raw)]:
        problems.setdefault(key, text)
    if problems or config is None:
        lines = "\n".join(f"  {key}: {text}" for key, text in problems.items())
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise UserError(f"the config has {count}:\n{lines}")
    return config


def _with_text_keys(value: Any, path: list) -> tuple[Any, list[tuple[str, str]]]:
    """A copy whose keys are all text, and a problem for every key that YAML read otherwise."""
    if not isinstance(value, dict):
        return value, []
    copy, problems = {}, []
    for key, inner in value.items():
        is_text = isinstance(key, str)
        name = key if is_text and not _SURROGATE.search(key) else short(key)
        copy[name], inside = _with_text_keys(inner, [*path, name])
        if not is_text:
            text = f"YAML does not read this key as text; write it in quotes: '{name}'"
            problems.append((join([*path, name]), text))
        elif name is not key:
            text = f"{name} holds half a surrogate pair, which is no character; remove it"
            problems.append((join([*path, name]), text))
        problems += inside
    return copy, problems


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
    key = join(path)
    kind = error["type"]
    if error["loc"] and error["loc"][-1] == "[key]":
        return key, f"the name {short(path[-1])} {_plain(error)} (it names a folder)"
    if kind == "extra_forbidden":
        return key, _unknown_key(raw, path)
    if kind == "missing":
        field = _field_at(path)
        what = f" ({field.description})" if field is not None and field.description else ""
        return key, f"missing; add it{what}"
    if kind in ("union_tag_not_found", "union_tag_invalid", "model_attributes_type"):
        return _wrong_union(path, key, value)
    text = f"{short(value)} is not allowed: {_plain(error)}"
    if kind == "string_type" and isinstance(value, int | float | datetime.date):
        text += ", in quotes"
    if isinstance(value, str) and kind.startswith(("int_", "float_")):
        number = _number(value, whole=kind.startswith("int_"))
        if number is not None and _EXPONENT.match(value):
            return key, f"YAML reads {value} as text; write {number}"
        if number is not None:
            text += f"; it is text: write {number} without quotes (in a file, not with --config)"
    return key, text


def _number(text: str, whole: bool) -> str | None:
    """The number a text spells, as YAML wants it written; None if it spells none."""
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value) or (whole and not value.is_integer()):
        return None
    if whole:
        return str(int(value))
    if match := _EXPONENT.match(text):
        sign, digits, exponent_sign, exponent = match.groups()
        point = digits if "." in digits else f"{digits}.0"
        return f"{sign}{point}e{exponent_sign or '+'}{exponent}"
    return text


def _wrong_union(path: list, key: str, value: Any) -> tuple[str, str]:
    if path and path[0] == "refits":
        return key, (
            f"{short(value)} is not allowed: give a count (at least 2), a list of seeds, "
            "or {init_seeds: [...], data_seeds: [...]}"
        )
    known = [_type_of(member) for member in _members(path)]
    if not isinstance(value, dict):
        wanted = f"give a mapping with a key 'type', one of {', '.join(known)}"
        return key, f"{short(value)} is not allowed: {wanted}"
    if "type" not in value:
        return f"{key}.type", f"missing; one of {', '.join(known)}"
    guess = suggest(str(value["type"]), known)
    return f"{key}.type", f"{short(value['type'])} is not one of {', '.join(known)}{guess}"


_ALLOWED = {
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
    "string_too_short": "may not be empty",
    "string_too_long": "may have at most {max_length} characters",
    "string_unicode": "give text that is valid Unicode",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}",
    "literal_error": "one of {expected}",
}


def _plain(error: Any) -> str:
    """What is allowed, in words of the config rather than of Python."""
    context = error.get("ctx", {})
    if "pattern" in context:
        return PATTERNS[context["pattern"]]
    if error["type"] not in _ALLOWED:
        return error["msg"]
    shown = {key: f"{x:g}" if isinstance(x, float) else x for key, x in context.items()}
    return _ALLOWED[error["type"]].format(**shown)


def _path_in(raw: dict, location: tuple) -> tuple[list, Any]:
    """Drop from a pydantic location what is no key; also find the value it points at."""
    path: list = []
    value: Any = raw
    tagged = False  # of a union, pydantic names the member it tried before the keys in it
    for part in location:
        if part == "[key]":
            continue
        if _is_union(path) and not tagged:
            tagged = True
            continue
        tagged = False
        inside = isinstance(value, dict) and part in value
        indexed = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        value = value[part] if inside or indexed else None
        path.append(part)
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
    return path == ["refits"] or len(_members(path)) > 1


def _type_of(member: type[BaseModel]) -> str:
    """What `type` is in a section of which there are several kinds."""
    return typing.get_args(member.model_fields["type"].annotation)[0]


def _unknown_key(raw: dict, path: list) -> str:
    parent, word = path[:-1], str(path[-1])
    where = f"in {join(parent)}" if parent else "at the top level"
    models = _members(parent)
    if len(models) > 1:
        chosen = _path_in(raw, tuple(parent))[1]["type"]
        others = [_type_of(model) for model in models if word in model.model_fields]
        if others:
            return f"unknown key {word!r} {where} of type {chosen}; it belongs to type {others[0]}"
        models = [model for model in models if _type_of(model) == chosen]
    known = sorted({name for model in models for name in model.model_fields})
    guess = suggest(word, known)
    return f"unknown key {word!r} {where}{guess or '; known keys: ' + ', '.join(known)}"
