"""The page that lists every key of the config, made from the schema."""

import json
from collections.abc import Iterator
from typing import Any

from .schema import StudyConfig
from .schema_base import PATTERNS

HEAD = """# Every key of a study file

Made from `scripts/headstability/study/schema.py` by `make docs`; a test compares them.
`config.yaml` explains the same keys in context. `<name>` is a name of your choice. What is
required has to be given; everything else takes the default shown, whatever `config.yaml` says.
Unknown keys are refused, and so is a number where text is wanted.
"""
_SCHEMA = StudyConfig.model_json_schema()
_TYPES = {"integer": "whole number", "string": "text", "boolean": "true or false"}
_PLURAL = {"whole number": "whole numbers", "number": "numbers", "choice": "choices"}
_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_Row = tuple[str, dict[str, Any], bool]


def config_reference() -> str:
    """The page, in Markdown: a section for every key of the first level."""
    parts, simple = [], []
    for key, field in _SCHEMA["properties"].items():
        needed = key in _SCHEMA["required"]
        if _below(field) is None and not _has_sections(field):
            simple.append((key, field, needed))
            continue
        lines = [f"## `{key}`", ""]
        if text := field.get("description"):
            lines += [f"{_sentence(text)}{_default_of(field, needed)}", ""]
        parts.append("\n".join([*lines, *_sections(key, field)]))
    top = ["## First level", "", *_table(simple)]
    return "\n".join([HEAD, *top, *parts]).rstrip("\n") + "\n"


def _sections(key: str, field: dict) -> Iterator[str]:
    """Tables of what stands below a key: one for each of its forms."""
    if (named := _below(field)) is not None:
        yield from _sections(f"{key}.<name>", named)
        return
    forms = _forms(field)
    if plain := [form for form in forms if "properties" not in form]:
        said = {name: field[name] for name in ("default", "description") if name in field}
        yield from _table([(key, form | said, False) for form in plain])
    for form in forms:
        if "properties" not in form:
            continue
        if choice := form["properties"].get("type", {}).get("const"):
            yield from [f"### `{key}` with `type: {choice}`", ""]
        if text := form.get("description"):
            yield from [_sentence(text.split("\n")[0]), ""]
        rows, deeper = [], []
        # What chooses the form comes first.
        for name, inner in sorted(form["properties"].items(), key=lambda item: item[0] != "type"):
            row = (f"{key}.{name}", inner, name in form.get("required", []))
            (deeper if _has_sections(inner) else rows).append(row)
        yield from _table(rows)
        for name, inner, needed in deeper:
            text = _sentence(inner["description"]) + _default_of(inner, needed)
            yield from [f"### `{name}`", "", text, ""]
            yield from _sections(name, inner)


def _resolve(field: dict) -> dict:
    """A field with what it refers to; its own description and default come first."""
    if "$ref" in field:
        return {**_SCHEMA["$defs"][field["$ref"].rsplit("/", 1)[1]], **field}
    return field


def _forms(field: dict) -> list[dict]:
    """What a field may be: the members of a union, null left out if there is more."""
    field = _resolve(field)
    members = field.get("oneOf", field.get("anyOf"))
    if members is None:
        return [field]
    found = [form for member in members for form in _forms(member)]
    return [form for form in found if form.get("type") != "null"] or found


def _has_sections(field: dict) -> bool:
    return any("properties" in form for form in _forms(field))


def _below(field: dict) -> dict | None:
    """What a mapping by names holds, if it holds sections."""
    inside = _values(_resolve(field))
    return inside if inside and _has_sections(inside) else None


def _values(form: dict) -> dict | None:
    """What the values of a mapping by names are."""
    found = [*form.get("patternProperties", {}).values(), form.get("additionalProperties")]
    return next((inner for inner in found if isinstance(inner, dict)), None)


def _table(rows: list[_Row]) -> Iterator[str]:
    yield from ["| key | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    for key, field, needed in rows:
        if "const" in field:
            yield f"| `{key}` | text | required | `{field['const']}` | chooses this form |"
            continue
        default = f"`{_yaml(field['default'])}`" if "default" in field else ""
        meaning = _escaped(field.get("description", ""))
        cells = [_type(field), "required" if needed else default, _allowed(field), meaning]
        yield f"| `{key}` | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _type(field: dict) -> str:
    field = _resolve(field)
    if members := field.get("anyOf", field.get("oneOf")):
        return " or ".join(dict.fromkeys(map(_type, members)))
    if "enum" in field or "const" in field:
        return "choice"
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} numbers"
    if field["type"] == "array":
        item = _type(field["items"])
        return f"list of {_PLURAL.get(item, item)}"
    if field["type"] == "object":
        return f"mapping of names to {_type(_values(field))}"
    return _TYPES.get(field["type"], field["type"])


def _default_of(field: dict, needed: bool) -> str:
    """The default of what has a section of its own, as the end of its sentence."""
    if needed or "default" not in field or isinstance(field["default"], dict):
        return " Required." if needed else ""
    return f" Default: `{_yaml(field['default'])}`."


def _allowed(field: dict) -> str:
    """Ranges, choices, lengths and patterns, those of a list's items included."""
    found = []
    for form in _forms(field):
        choices = [form["const"]] if "const" in form else form.get("enum", [])
        fewest = 0 if "prefixItems" in form else form.get("minItems", form.get("minProperties"))
        inner = form.get("items", _values(form))
        each = _allowed(inner) if isinstance(inner, dict) else ""
        found += [
            ", ".join(f"`{choice}`" for choice in choices),
            ", ".join(
                f"{sign} {_number(form[end])}" for end, sign in _SIGNS.items() if end in form
            ),
            f"at least {fewest}" if fewest else "",
            f"up to {form['maxLength']} characters" if "maxLength" in form else "",
            "not empty" if form.get("minLength") else "",
            PATTERNS.get(form.get("pattern"), ""),
            *(f"names {PATTERNS[pattern]}" for pattern in form.get("patternProperties", {})),
            f"each {each}" if each else "",
        ]
    return "; ".join(text for text in dict.fromkeys(found) if text)


def _number(value: float) -> str:
    """In full, but for powers of two no one reads."""
    if isinstance(value, int) and value >= 2**31:
        return f"2^{value.bit_length() - 1}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yaml(value: object) -> str:
    """A value as a line of YAML would have it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    return text.replace("<", "\\<").replace("*", "\\*")  # for Markdown


def _sentence(text: str) -> str:
    text = _escaped(text.strip())
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
