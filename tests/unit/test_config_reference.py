"""docs/config-reference.md is current, complete, and says of keys what the schema says."""

import typing

import pytest
from pydantic import BaseModel, ValidationError
from test_quality import ROOT

from headstability.study.config_reference import config_reference
from headstability.study.schema import StudyConfig

PAGE = (ROOT / "docs/config-reference.md").read_text()


def test_the_page_is_current():
    assert config_reference() == PAGE, "make docs"


def keys(kind=StudyConfig, above=""):
    """Every key below a type of the schema, as the page writes it, with its field."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            key = f"{above}.{name}".lstrip(".")
            yield key, field
            yield from keys(field.annotation, key)
        return
    named = typing.get_origin(kind) is dict
    for part in typing.get_args(kind):
        yield from keys(part, f"{above}.<name>" if named else above)


def test_every_key_is_on_the_page_with_what_it_means():
    found = list(keys())
    names = {key for key, _ in found}
    assert {"training.clip", "prompts.<name>.count", "refits.init_seeds"} <= names
    sections = {key.rsplit(".", 1)[0] for key in names if "." in key}
    for key, field in found:
        if key in sections or f"{key}.<name>" in sections:
            assert f"# `{key}" in PAGE, key
        elif not key.endswith(".type"):
            assert field.description, f"{key} has no description in the schema"
            meaning = field.description.replace("<", "\\<").replace("*", "\\*")
            rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |")]
            assert any(line.endswith(f"| {meaning} |") for line in rows), key


def row(key):
    return next(line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |")).split(" | ")[
        1:4
    ]


@pytest.mark.parametrize(
    ("key", "cells"),
    [
        ("study", ["text", "required"]),
        ("training.steps", ["whole number or null", "`null`", "≥ 1, ≤ 2^49"]),
        ("training.betas", ["list of 2 numbers", "`[0.9, 0.999]`", ""]),
        ("training.schedule", ["choice", "`constant`", "`constant`, `linear`, `cosine`"]),
        ("weight_decays", ["list of numbers", "`[0.0, 0.1]`", "at least 1; each ≥ 0, ≤ 100"]),
        ("corpus.held_out", ["number", "`0.1`", "> 0, < 1"]),
        ("refits", ["whole number", "`4`", "≥ 2, ≤ 100000"]),
        (
            "refits.data_seeds",
            ["list of whole numbers", "required", "at least 1; each ≥ 0, < 2^63"],
        ),
        ("tokenizer.bos", ["text", "`<\\|endoftext\\|>`", "not empty"]),
    ],
)
def test_rows_say_what_is_true(key, cells):
    assert row(key)[: len(cells)] == cells


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("batch", 1, True),
        ("batch", 0, False),
        ("batch", 65536, True),
        ("batch", 65537, False),
        ("learning_rate", 0.0, False),
        ("learning_rate", 10.0, True),
    ],
)
def test_ranges_are_those_that_are_enforced(key, value, allowed):
    text = {"batch": "≥ 1, ≤ 65536", "learning_rate": "> 0, ≤ 10"}[key]
    assert row(f"training.{key}")[2] == text
    study = {"study": "a", "architectures": {"a": {"layers": 1, "heads": 1, "d_model": 8}}}
    study["training"] = {"steps": 1, key: value}
    if allowed:
        assert getattr(StudyConfig.model_validate(study).training, key) == value
    else:
        with pytest.raises(ValidationError):
            StudyConfig.model_validate(study)
