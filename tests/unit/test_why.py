"""Why finished jobs would run again, in the words of the config."""

import json
import re
import types
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel
from test_study import config, with_files

from headstability import specs, why
from headstability.codehash import code_hashes
from headstability.files import sha256_file
from headstability.jobs import (
    KINDS,
    canonical,
    expected_files,
    job_parameter,
    undrawn_rules,
    wildcards_of,
)
from headstability.schema import StudyConfig
from headstability.study import Study
from headstability.why import (
    config_key,
    differences,
    input_reasons,
    parameter_reasons,
    recorded_jobs,
    recorded_parameter,
)

SCRIPTS = Path(why.__file__).resolve().parents[1]
CODE = code_hashes(SCRIPTS / "train.py")

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


# A key may be followed by what it is in brackets; two keys are joined by "and".
WITHOUT_KEY = {"the files of the study"}


def real(text):
    text = re.sub(r" \([^()]*\)$", "", text)
    return text in WITHOUT_KEY or all(is_key(key.split(".")) for key in text.split(" and "))


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
STUDIES = [{}, {"tokenizer": SAVED, "corpus": {"type": "sotu"}}, {"ablation__text": "held_out"}]
CROSSED = {"init_seeds": [1, 2], "data_seeds": [1, 2]}
STUDIES.append({"refits": CROSSED, "time_course__steps": [0, 20]})


def places(edits):
    """Every place of every specification: rule, wildcards, place."""
    study = Study(config(stability__prompts="mine", **edits))
    found = {}
    for path, rule in [*expected_files(study), ("", "verify")]:
        wildcards = wildcards_of(study, rule, path) or {}
        for place in leaves(job_parameter(study, rule, wildcards, CODE)["spec"]):
            found[rule, place] = wildcards
    for name in study.config.prompts:
        for place in leaves(specs.prompts(study, name)):
            found["prompts", place] = {"prompts": name}
    return found


@pytest.mark.parametrize("edits", STUDIES, ids=str)
def test_every_place_leads_to_a_key_of_the_config(tmp_path, monkeypatch, edits):
    monkeypatch.chdir(tmp_path)
    with_files(tmp_path)
    found = places(edits)
    silent = {"stability_ablation_table", "pairwise_table", "weight_decay_contrast_table"}
    silent |= {"write_transformerlens", "write_huggingface", "published"}  # on request
    silent |= {"download_weights", "import_weights"}  # of which these studies have none
    undrawn = undrawn_rules(Study(config(**edits)))
    assert {rule for rule, _ in found} == {*KINDS, "verify"} - silent - undrawn
    keys = {(rule, place): config_key(rule, found[rule, place], place) for rule, place in found}
    assert {name: key for name, key in keys.items() if not real(key)} == {}
    assert {name for name, key in keys.items() if key in WITHOUT_KEY} == {
        ("verify", "expected"),
        ("verify", "on_request"),
    }


CELL = {"architecture": "small", "weight_decay": "0.1", "refit": "seed1"}


@pytest.mark.parametrize(
    ("rule", "wildcards", "place", "key"),
    [
        ("train", CELL, "training.learning_rate", "training.learning_rate"),
        ("train", CELL, "shape.d_model", "architectures.small.d_model"),
        ("train", CELL, "shape", "architectures.small"),
        ("train", CELL, "shape.context", "training.context"),
        ("train", CELL, "weight_decay", "weight_decays"),
        ("train", CELL, "init_seed", "refits"),
        ("train", CELL, "checkpoint_steps", "training.checkpoint_steps"),
        ("cache", CELL, "device", "training.device"),
        ("corpus", {}, "held_out", "corpus.held_out"),
        ("corpus", {}, "content", "corpus.paths (content of the files)"),
        ("tokenizer", {}, "vocabulary", "tokenizer.vocabulary"),
        ("tokenizer", {}, "content", "tokenizer.path (content of the file)"),
        ("tokens", {}, "bos", "tokenizer.bos"),
        ("prompts", {"prompts": "mine"}, "seed", "prompts.mine.seed"),
        ("prompts", {"prompts": "mine"}, "bos", "tokenizer.bos"),
        ("prompts", {"prompts": "mine"}, "context", "training.context"),
        ("prompts", {"prompts": "mine"}, "content", "prompts.mine.path (content of the file)"),
        ("ablation", CELL, "held_out_rows", "ablation.held_out_rows"),
        ("ablation", CELL, "context", "training.context"),
        ("head_map_table", CELL, "anchor", "refits (the first is the anchor)"),
        ("layer_stability", {}, "palette", "figures.palette"),
        ("layer_stability", {}, "weight_decays", "weight_decays"),
        ("heads_table", {}, "conditions", "architectures and weight_decays"),
        ("layer_stability", {}, "anchor", "stability.anchor and refits"),
        ("commonness", {}, "with_self", "stability.commonness_self"),
        ("extremes_table", {}, "architectures.small.mlp", "architectures.small.mlp"),
        ("cache", CELL, "streams", "residual.streams"),
        ("residual_similarity", CELL, "streams", "residual.streams"),
        ("residual", {}, "kernel", "residual.kernel"),
        ("residual", {}, "estimator", "residual.estimator"),
        ("residual", {}, "dpi", "figures.dpi"),
        ("residual", {}, "weight_decays", "weight_decays"),
        ("meta_sne_table", {"weight_decay": "0"}, "perplexity", "meta_sne.perplexity"),
        ("meta_sne_table", {"weight_decay": "0"}, "seed", "meta_sne.seed"),
        ("meta_sne_table", {"weight_decay": "0"}, "architectures", "architectures"),
        ("refits_needed_table", {}, "width", "refits_needed.width"),
        ("refits_needed_table", {}, "refits", "refits"),
        ("role_scores", CELL, "seed", "roles.seed"),
        ("role_scores", CELL, "device", "training.device"),
        ("role_stability", CELL, "least", "roles.least"),
        ("role_stability", CELL, "seeds.seed1", "refits"),
        ("dose_table", {}, "learning_rate", "training.learning_rate"),
        ("time_course_table", {}, "time_steps", "time_course.steps"),
        ("origin_table", {}, "seeds", "refits"),
    ],
)
def test_keys(rule, wildcards, place, key):
    assert config_key(rule, wildcards, place) == key


# --- reasons ------------------------------------------------------------------------------


def parameter(code=None, **edits):
    made = job_parameter(Study(config(**edits)), "train", CELL, CODE)
    return {**made, "code": code} if code is not None else made


def test_nothing_changed():
    assert parameter_reasons("train", CELL, parameter(), parameter()) == []
    assert parameter_reasons("train", CELL, json.loads(canonical(parameter())), parameter()) == []


def test_keys_are_named_with_both_values():
    new = parameter(training__learning_rate=0.01, training__clip=1.5, refits=[5, 1])
    assert parameter_reasons("train", CELL, parameter(), new) == [
        "training.clip was null, is 1.5",
        "training.learning_rate was 0.002, is 0.01",
    ]
    new = parameter(training__schedule="cosine", training__betas=[0.8, 0.9])
    assert parameter_reasons("train", CELL, parameter(), new) == [
        "training.betas was [0.9, 0.999], is [0.8, 0.9]",
        'training.schedule was "constant", is "cosine"',
    ]


def test_changes_of_the_prompts_kind_say_what_is_not_set():
    """What one kind of prompts has and the other lacks."""
    wildcards = {"prompts": "passages"}
    study = Study(config())
    old = job_parameter(study, "prompts", wildcards, CODE)
    spec = {**specs.prompts(study, "mine"), "name": "passages"}
    reasons = parameter_reasons("prompts", wildcards, old, {**old, "spec": spec})
    assert 'prompts.passages.path was (not set), is "mine.txt"' in reasons
    assert "prompts.passages.count was 6, is (not set)" in reasons
    assert 'prompts.passages.type was "held_out", is "file"' in reasons


def test_long_values_are_cut():
    old = {"spec": {"refits": [f"seed{i}" for i in range(100)]}, "code": {}}
    (reason,) = parameter_reasons("refits", {}, old, {"spec": {"refits": []}, "code": {}})
    assert reason.startswith('refits was ["seed0", "seed1", ')
    assert reason.endswith("..., is []")
    assert len(reason) < 120


def test_modules_of_the_code_are_named_by_their_files():
    old = parameter(code={"train": "1", "headstability.model": "2", "headstability.gone": "3"})
    new = parameter(code={"train": "9", "headstability.model": "2", "headstability.added": "4"})
    assert parameter_reasons("train", CELL, old, new) == [
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
    made = parameter(weight_decays=[1e-05, 0.1])
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
