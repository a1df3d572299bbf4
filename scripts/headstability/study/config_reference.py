"""The page that lists every key of the config, from what the schema says of it."""

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
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}
_PLURAL = {"whole number": "whole numbers", "number": "numbers", "choice": "choices"}
_Row = tuple[str, dict[str, Any], bool]


def config_reference() -> str:
    """The page, in Markdown: a section for every key of the first level."""
    schema = StudyConfig.model_json_schema()
    parts, simple = [], []
    for key, field in schema["properties"].items():
        forms = _forms(schema, field)
        inside = _below(schema, field)
        needed = key in schema["required"]
        if inside is None and not any("properties" in form for form in forms):
            simple.append((key, field, needed))
            continue
        lines = [f"## `{key}`", ""]
        if text := field.get("description"):
            lines += [f"{_sentence(text)}{_default_of(field, needed)}", ""]
        parts.append("\n".join([*lines, *_sections(schema, key, field)]))
    top = ["## First level", "", *_table(schema, simple)]
    return "\n".join([HEAD, *top, *parts]).rstrip("\n") + "\n"


def _sections(schema: dict, key: str, field: dict) -> Iterator[str]:
    """Tables of what stands below a key: one for each of its forms."""
    if (named := _below(schema, field)) is not None:
        yield from _sections(schema, f"{key}.<name>", named)
        return
    forms = _forms(schema, field)
    plain = [form for form in forms if "properties" not in form]
    if plain:
        said = {name: field[name] for name in ("default", "description") if name in field}
        yield from _table(schema, [(key, form | said, False) for form in plain])
    for form in forms:
        if "properties" not in form:
            continue
        choice = form["properties"].get("type", {}).get("const")
        if choice:
            yield from [f"### `{key}` with `type: {choice}`", ""]
        if text := form.get("description"):
            yield from [_sentence(text.split("\n")[0]), ""]
        rows, deeper = [], []
        # What chooses the form comes first.
        for name, inner in sorted(form["properties"].items(), key=lambda item: item[0] != "type"):
            below = any("properties" in one for one in _forms(schema, inner))
            (deeper if below else rows).append((name, inner))
        required = form.get("required", [])
        yield from _table(
            schema, [(f"{key}.{name}", inner, name in required) for name, inner in rows]
        )
        for name, inner in deeper:
            text = _sentence(inner["description"]) + _default_of(inner, name in required)
            yield from [f"### `{key}.{name}`", "", text, ""]
            yield from _sections(schema, f"{key}.{name}", inner)


def _resolve(schema: dict, field: dict) -> dict:
    """A field with what it refers to; its own description and default come first."""
    if "$ref" in field:
        return {**schema["$defs"][field["$ref"].rsplit("/", 1)[1]], **field}
    return field


def _forms(schema: dict, field: dict) -> list[dict]:
    """What a field may be: the members of a union, null left out if there is more."""
    field = _resolve(schema, field)
    members = field.get("oneOf", field.get("anyOf"))
    if members is None:
        return [field]
    found = [form for member in members for form in _forms(schema, member)]
    return [form for form in found if form.get("type") != "null"] or found


def _below(schema: dict, field: dict) -> dict | None:
    """What a mapping by names holds, if it holds sections."""
    inside = _values(_resolve(schema, field))
    if inside and any("properties" in form for form in _forms(schema, inside)):
        return inside
    return None


def _values(form: dict) -> dict | None:
    """What the values of a mapping by names are."""
    found = [*form.get("patternProperties", {}).values(), form.get("additionalProperties")]
    return next((inner for inner in found if isinstance(inner, dict)), None)


def _table(schema: dict, rows: list[_Row]) -> Iterator[str]:
    yield from ["| key | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    for key, field, needed in rows:
        if "const" in field:
            fixed = f"`{field['const']}`"
            yield f"| `{key}` | text | required | {fixed} | chooses this form |"
            continue
        cells = [_type(schema, field), _default(field, needed), _allowed(schema, field)]
        cells.append(_escaped(field.get("description", "")))
        yield f"| `{key}` | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _type(schema: dict, field: dict) -> str:
    field = _resolve(schema, field)
    if members := field.get("anyOf", field.get("oneOf")):
        return " or ".join(dict.fromkeys(_type(schema, member) for member in members))
    if "enum" in field or "const" in field:
        return "choice"
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} numbers"
    if field["type"] == "array":
        item = _type(schema, field["items"])
        return f"list of {_PLURAL.get(item, item)}"
    if field["type"] == "object":
        return f"mapping of names to {_type(schema, _values(field))}"
    return _TYPES[field["type"]]


def _default(field: dict, needed: bool) -> str:
    if needed:
        return "required"
    return f"`{_yaml(field['default'])}`" if "default" in field else ""


def _default_of(field: dict, needed: bool) -> str:
    """The default of what has a section of its own, as the end of its sentence."""
    if needed or "default" not in field or isinstance(field["default"], dict):
        return " Required." if needed else ""
    return f" Default: `{_yaml(field['default'])}`."


def _allowed(schema: dict, field: dict) -> str:
    """Ranges, choices, lengths and patterns, those of a list's items included."""
    found: dict[str, None] = {}
    for form in _forms(schema, field):
        if "enum" in form:
            found[", ".join(f"`{choice}`" for choice in form["enum"])] = None
        elif "const" in form:
            found[f"`{form['const']}`"] = None
        if text := _range(form):
            found[text] = None
        if form.get("minItems") and "prefixItems" not in form:
            found[f"at least {form['minItems']}"] = None
        if "minProperties" in form:
            found[f"at least {form['minProperties']}"] = None
        if "maxLength" in form:
            found[f"up to {form['maxLength']} characters"] = None
        if form.get("minLength"):
            found["not empty"] = None
        if "pattern" in form:
            found[PATTERNS[form["pattern"]]] = None
        for pattern in form.get("patternProperties", {}):
            found[f"names {PATTERNS[pattern]}"] = None
        inner = form.get("items", _values(form))
        if isinstance(inner, dict) and (text := _allowed(schema, inner)):
            found[f"each {text}"] = None
    return "; ".join(found)


def _range(form: dict) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {_number(form[key])}" for key, sign in signs.items() if key in form)


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
    """Plain text for Markdown."""
    return text.replace("<", "\\<").replace("*", "\\*")


def _sentence(text: str) -> str:
    """The same with a capital and a full stop."""
    text = _escaped(text.strip())
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
