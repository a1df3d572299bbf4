"""What the schema finds wrong with a config, in words of the config rather than of Python."""

import datetime
import math
import re
import types
import typing
from typing import Any, NamedTuple

from pydantic import BaseModel, Tag, ValidationError

from ..errors import UserError
from .config_file import join, short, suggest
from .schema import StudyConfig
from .schema_base import PATTERNS

# YAML takes a number with an exponent for text unless it has both a point and the exponent's sign.
_EXPONENT = re.compile(r"^([+-]?)(\d+\.?\d*|\.\d+)[eE]([+-]?)(\d+)$")
# Escapes of JSON and YAML can spell halves of pairs.
_SURROGATE = re.compile("[\ud800-\udfff]")


def validate(raw: object) -> StudyConfig:
    """Hold a config against the schema; a UserError names everything this does not allow."""
    if not isinstance(raw, dict):
        raise UserError("the config is not a mapping of keys to values")
    problems: dict[str, str] = {}
    unquoted: dict[str, str] = {}
    raw = _with_text_keys(raw, [], unquoted)
    try:
        config = StudyConfig.model_validate(raw)
    except ValidationError as error:
        for key, text in map(_describe, error.errors()):
            problems.setdefault(key, text)  # of a wrong name that holds a wrong value, the first
    problems |= {key: text for key, text in unquoted.items() if key not in problems}
    if problems:
        raise refusal(problems)
    return config


def refusal(problems: dict[str, str]) -> UserError:
    """The error that names every problem, by key."""
    lines = "\n".join(f"  {key}: {text}" for key, text in problems.items())
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return UserError(f"the config has {count}:\n{lines}")


def _with_text_keys(value: Any, path: list, problems: dict[str, str]) -> Any:
    """A copy whose keys are all text; adds a problem for every key that YAML read otherwise."""
    if not isinstance(value, dict):
        return value
    copy = {}
    for key, inner in value.items():
        name, text = key, ""
        if not isinstance(key, str):
            name = short(key)
            text = f"YAML does not read this key as text; write it in quotes: '{name}'"
        elif _SURROGATE.search(key):
            name = short(key)
            text = f"{name} holds half a surrogate pair, which is no character; remove it"
        if text:
            problems[join([*path, name])] = text
        copy[name] = _with_text_keys(inner, [*path, name], problems)
    return copy


class _Place(NamedTuple):
    """Where in a config an error is."""

    path: list  # names and indices of the keys
    kind: Any  # the type the schema gives to it; None for an unknown key
    section: Any  # the type that holds the last key
    siblings: dict[str, Any]  # where `section` is one of several by `type`, these by their `type`


def _locate(location: tuple) -> _Place:
    """The place of a pydantic error; its location also names forms, which are no keys."""
    place = _Place([], StudyConfig, None, {})
    siblings: dict[str, Any] = {}
    for part in location:
        if part == "[key]":
            continue
        if forms := _forms(place.kind):
            siblings, place = forms, place._replace(kind=_bare(forms[part]))
        else:
            below = _bare(_kind_below(place.kind, part))
            place, siblings = _Place([*place.path, part], below, place.kind, siblings), {}
    return place


def _kind_below(kind: Any, part: str | int) -> Any:
    """The type of a key of a section, or of what a mapping or list holds."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(part)
        return field and field.annotation
    return typing.get_args(kind)[-1]


def _bare(kind: Any) -> Any:
    """A type without its annotations, and without null if it is one type beside that."""
    options = [option for option in typing.get_args(kind) if option is not types.NoneType]
    if typing.get_origin(kind) is typing.Annotated or (_is_union(kind) and len(options) == 1):
        return _bare(options[0])
    return kind


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _forms(kind: Any) -> dict[str, Any]:
    """The types a value can have by what chooses among them; empty if there is only one."""
    return {_tag(form): form for form in typing.get_args(kind)} if _is_union(kind) else {}


def _tag(form: Any) -> str:
    tags = [item.tag for item in getattr(form, "__metadata__", ()) if isinstance(item, Tag)]
    return tags[0] if tags else typing.get_args(form.model_fields["type"].annotation)[0]


def _describe(error: Any) -> tuple[str, str]:
    """Turn one pydantic error into (key path, message)."""
    place = _locate(error["loc"])
    key, value, kind = join(place.path), error["input"], error["type"]
    if kind in ("union_tag_not_found", "union_tag_invalid", "model_attributes_type"):
        return _wrong_form(key, value, list(_forms(place.kind)))
    if error["loc"][-1] == "[key]":
        text = f"the name {short(place.path[-1])} {_plain(error)} (it names a folder)"
    elif kind == "extra_forbidden":
        text = _unknown_key(place)
    elif kind == "missing":
        fields = getattr(place.section, "model_fields", {})
        what = fields[place.path[-1]].description if fields else None
        text = f"missing; add it{f' ({what})' if what else ''}"
    elif kind == "repeated":
        text = f"{short(value[error['ctx']['index']])} is listed twice; {_plain(error)}"
    else:
        text = _wrong_value(value, error)
    return key, text


def _wrong_value(value: Any, error: Any) -> str:
    number, kind = None, error["type"]
    if isinstance(value, str) and kind.startswith(("int_", "float_")):
        number = _number(value, whole=kind.startswith("int_"))
    if number is not None and _EXPONENT.match(value):
        return f"YAML reads {value} as text; write {number}"
    text = f"{short(value)} is not allowed: {_plain(error)}"
    if kind == "string_type" and isinstance(value, int | float | datetime.date):
        text += ", in quotes"
    if number is not None:
        text += f"; it is text: write {number} without quotes (in a file, not with --config)"
    return text


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


def _wrong_form(key: str, value: Any, known: list[str]) -> tuple[str, str]:
    """A section of which there are several forms, and that is none of them."""
    one_of = f"one of {', '.join(known)}"
    if not isinstance(value, dict):
        return key, f"{short(value)} is not allowed: give a mapping with a key 'type', {one_of}"
    if "type" not in value:
        return f"{key}.type", f"missing; {one_of}"
    guess = suggest(str(value["type"]), known)
    return f"{key}.type", f"{short(value['type'])} is not {one_of}{guess}"


def _unknown_key(place: _Place) -> str:
    *parent, word = place.path
    where = f"in {join(parent)}" if parent else "at the top level"
    for tag, form in place.siblings.items():
        if word in getattr(form, "model_fields", {}):
            chosen = _tag(place.section)
            return f"unknown key {word!r} {where} of type {chosen}; it belongs to type {tag}"
    known = sorted(place.section.model_fields)
    guess = suggest(word, known)
    return f"unknown key {word!r} {where}{guess or '; known keys: ' + ', '.join(known)}"


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
