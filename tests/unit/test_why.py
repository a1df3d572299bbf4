"""Why finished jobs would run again, in the words of the config."""

import json
import re
import types
import typing
from pathlib import Path

import pytest
from plans import plan_of_config
from pydantic import BaseModel
from test_study import config

from headstability.monitor.why import (
    differences,
    input_reasons,
    parameter_reasons,
    recorded_jobs,
    recorded_parameter,
)
from headstability.storage.files import sha256_file
from headstability.study.derived import key_in_words
from headstability.study.schema import StudyConfig
from headstability.workflow.parameters import canonical

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

# --- differences --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, []),
        ({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": None}, {"a": 0}, [("a", None, 0)]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("a.c", 2, 3)]),
        ({"a": [1, 2]}, {"a": [2, 1]}, [("a", [1, 2], [2, 1])]),
        ({"a": 1}, {}, [("a", 1, "(not set)")]),
        ({}, {"a": None}, [("a", "(not set)", None)]),
        ({"a": {"b": 1}}, {"a": 3}, [("a", {"b": 1}, 3)]),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, [("a", 1, 2), ("b", 1, 2)]),
        ({"a": {"b": {"c": {}}}}, {"a": {"b": {"c": {"d": 1}}}}, [("a.b.c.d", "(not set)", 1)]),
    ],
)
def test_differences(old, new, expected):
    assert list(differences(old, new)) == expected


# --- config keys --------------------------------------------------------------------------


def is_key(path, kind=StudyConfig):
    """Whether a dotted path is one of the config; names of a mapping may be any."""
    if not path:
        return True
    first, *rest = path
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(first)
        return field is not None and is_key(rest, field.annotation)
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return is_key(path, typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return any(is_key(path, option) for option in typing.get_args(kind))
    return origin is dict and is_key(rest, typing.get_args(kind)[1])


# A key may be followed by what it is in brackets; two keys are joined by "and" or "or".
def real(text):
    text = re.sub(r" \([^()]*\)$", "", text)
    return all(is_key(key.split(".")) for key in re.split(" and | or ", text))


def test_the_test_knows_keys_from_others():
    for key in ("training.batch", "prompts.mine.path", "refits", "refits.init_seeds", "study"):
        assert real(key), key
    assert real("architectures and weight_decays")
    assert real("corpus.paths (sizes)")
    for key in ("batch", "training.batch.size", "prompts.mine.content", "prompts.mine.", "weights"):
        assert not real(key), key
    assert not real("architectures and weights")


def leaves(spec, place=""):
    for key, value in spec.items():
        inner = f"{place}.{key}" if place else key
        yield inner
        if isinstance(value, dict):
            yield from leaves(value, inner)


SAVED = {"type": "file", "path": "saved.json"}
CROSSED = {"init_seeds": [1, 2], "data_seeds": [1, 2]}
STUDIES = [
    {},
    {"tokenizer": SAVED, "corpus": {"type": "sotu"}},
    {"ablation__text": "held_out", "stability__prompts": "mine"},
    {"refits": CROSSED, "time_course__steps": [0, 20]},
]


@pytest.mark.parametrize("edits", STUDIES, ids=str)
def test_everything_a_job_uses_leads_to_a_key_of_the_config(edits):
    plan = plan_of_config(config(**edits))
    found = {
        (job.rule, place): key_in_words(place, job.wildcards)
        for job in plan.jobs
        for place in leaves(job.parameter["spec"])
        if place not in job.wildcards.values()
    }
    assert len(found) > 100
    assert {name: key for name, key in found.items() if not real(key)} == {}


CELL = {"architecture": "small", "weight_decay": "0.1", "refit": "seed1"}


# --- reasons ------------------------------------------------------------------------------


def parameter(code=None, rule="train", **edits):
    """The parameter of a job: of the cell CELL, where there are several."""
    plan = plan_of_config(config(**edits))
    made = next(plan.parameter(job) for job in plan.jobs if job.rule == rule)
    return {**made, "code": code} if code is not None else made


def test_nothing_changed():
    assert parameter_reasons(CELL, parameter(), parameter()) == []
    assert parameter_reasons(CELL, json.loads(canonical(parameter())), parameter()) == []


def test_keys_are_named_with_both_values():
    new = parameter(training__learning_rate=0.01, training__clip=1.5, refits=[5, 1])
    assert parameter_reasons(CELL, parameter(), new) == [
        "training.clip was null, is 1.5",
        "training.learning_rate was 0.002, is 0.01",
    ]
    new = parameter(training__schedule="cosine", training__betas=[0.8, 0.9])
    assert parameter_reasons(CELL, parameter(), new) == [
        "training.betas was [0.9, 0.999], is [0.8, 0.9]",
        'training.schedule was "constant", is "cosine"',
    ]


def test_changes_of_the_prompts_kind_say_what_is_not_set():
    """What one kind of prompts has and the other lacks."""
    mine = {"type": "file", "path": "mine.txt"}
    old, new = parameter(rule="prompts"), parameter(rule="prompts", prompts__passages=mine)
    reasons = parameter_reasons({"prompts": "passages"}, old, new)
    assert 'prompts.passages.path was (not set), is "mine.txt"' in reasons
    assert "prompts.passages.count was 6, is (not set)" in reasons
    assert 'prompts.passages.type was "held_out", is "file"' in reasons


def test_names_that_differ_say_it_all():
    """Of what is held by name, such as the seeds of refits."""
    old, new = (parameter(rule="role_stability", refits=refits) for refits in ([1, 2], [1, 2, 3]))
    assert parameter_reasons(CELL, old, new) == [
        'refits was ["seed1", "seed2"], is ["seed1", "seed2", "seed3"]'
    ]


def test_a_rule_that_was_changed():
    old = parameter(rule="commonness")
    call = old["call"] | {"function": "plots.layers:other"}
    assert parameter_reasons({}, old, old | {"call": call}) == ["its rule was changed"]


def test_long_values_are_cut():
    new = {"spec": {"refit_names": []}, "code": {}, "script": "", "call": {}}
    old = new | {"spec": {"refit_names": [f"seed{i}" for i in range(100)]}}
    (reason,) = parameter_reasons({}, old, new)
    assert reason.startswith('refits was ["seed0", "seed1", ')
    assert reason.endswith("..., is []")
    assert len(reason) < 120


def test_modules_of_the_code_are_named_by_their_files():
    old = parameter(
        code={"train": "1", "headstability.models.transformer": "2", "headstability.gone": "3"}
    )
    new = parameter(
        code={"train": "9", "headstability.models.transformer": "2", "headstability.added": "4"}
    )
    assert parameter_reasons(CELL, old, new) == [
        "the code of scripts/headstability/added.py is new",
        "the code of scripts/headstability/gone.py is gone",
        "the code of scripts/train.py changed",
    ]


def test_real_modules_are_files():
    for name in parameter()["code"]:
        path = SCRIPTS / f"{name.replace('.', '/')}.py"
        assert path.is_file() or (path.with_suffix("") / "__init__.py").is_file(), name


# --- records ------------------------------------------------------------------------------


def test_recorded_jobs_by_log(tmp_path):
    records = {
        "one": b'{"log": ["logs/a.log"], "params": ["x"]}',
        "deep/two": b'{"log": ["logs/b.log", "c"]}',
        "no log": b'{"log": []}',
        "null log": b'{"log": null}',
        "no key": b"{}",
        "list": b"[1]",
        "number": b"3",
        "null": b"null",
        "empty": b"",
        "half": b'{"log": ["logs/a',
        "binary": b"\xff\xfe\0",
    }
    for name, content in records.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = recorded_jobs(tmp_path)
    assert set(found) == {"logs/a.log", "logs/b.log"}
    assert found["logs/a.log"]["params"] == ["x"]
    assert recorded_jobs(tmp_path / "none") == {}


def test_a_recorded_parameter_comes_back():
    made = parameter(training__learning_rate=1e-05)
    assert recorded_parameter({"params": [repr(canonical(made))]}) == made


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"params": None},
        {"params": []},
        {"params": [3]},
        {"params": ["3"]},
        {"params": ["not python"]},
        {"params": ["'not json'"]},
        {"params": ["'[1]'"]},
        {"params": ["'null'"]},
        {"params": ["<function f at 0x7f>"]},
    ],
    ids=str,
)
def test_odd_records_have_no_parameter(record):
    assert recorded_parameter(record) is None


def test_inputs_that_are_not_what_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("same", "edited", "removed"):
        Path(name).write_text(name)
    sums = {name: f"sha256:{sha256_file(name)}" for name in ("same", "edited", "removed")}
    assert input_reasons({"input_checksums": sums}) == []
    Path("edited").write_text("by hand")
    Path("removed").unlink()
    assert input_reasons({"input_checksums": sums}) == [
        "edited is not what it was when this was made",
        "removed is gone",
    ]


@pytest.mark.parametrize("record", [{}, {"input_checksums": None}, {"input_checksums": {}}])
def test_records_without_checksums_give_no_reasons(record):
    assert input_reasons(record) == []
