"""Architectures with a source: what a config may say, and what follows from it."""

import copy

import pytest
import yaml
from plans import plan_of_config

from headstability.errors import UserError
from headstability.study.check import check_config
from headstability.study.derived import key_in_words
from headstability.study.sources import Place
from headstability.study.study import Study

COMMIT = "a1148a78942455dea94e971632a8b48159c64e86"
BASE = yaml.safe_load(
    f"""
study: s
architectures:
  ours: {{layers: 1, heads: 2, d_model: 8}}
  theirs:
    layers: 2
    heads: 4
    d_model: 16
    source:
      type: transformerlens
      repo: some/weights
      revision: {COMMIT}
      path: "x{{decay}}/run_{{seed}}/final.pt"
      decays: {{"0": "", "0.1": "_wd"}}
  local:
    layers: 2
    heads: 4
    d_model: 16
    source: {{type: huggingface, path: "models/{{name}}{{decay}}", names: {{"1": a, "2": b}},
             decays: {{"0": "", "0.1": "-wd"}}}}
refits: 2
training: {{steps: 30, context: 64}}
"""
)


def edited(**changes):
    config = copy.deepcopy(BASE)
    for key, value in changes.items():
        *path, last = key.split("__")
        inner = config
        for part in path:
            inner = inner[part]
        inner[last] = value
    return config


def test_places_follow_from_cells():
    study = Study(edited())
    cell = {"architecture": "theirs", "weight_decay": "0.1", "refit": "seed2"}
    place = Place("transformerlens", "some/weights", COMMIT, "x_wd/run_2/final.pt")
    assert study.places(cell) == {"30": place}
    local = study.places({**cell, "architecture": "local", "refit": "seed1"})
    assert local == {"30": Place("huggingface", "", "", "models/a-wd")}
    assert study.source_files(cell) == []
    assert study.source_files({**cell, "architecture": "local"}) == [
        "models/b-wd/config.json",
        "models/b-wd/model.safetensors",
    ]


def test_steps_and_two_seeds():
    config = edited(
        refits={"init_seeds": [3], "data_seeds": [4, 5]},
        training__checkpoint_steps=[0],
        architectures__theirs__source__revision="step{step}",
        architectures__theirs__source__path="{init_seed}-{data_seed}{decay}.pt",
    )
    del config["architectures"]["local"]
    cell = {"architecture": "theirs", "weight_decay": "0", "refit": "init3-data5"}
    places = Study(config).places(cell)
    assert {step: (p.revision, p.path) for step, p in places.items()} == {
        "0": ("step0", "3-5.pt"),
        "30": ("step30", "3-5.pt"),
    }


SOURCE = "architectures.theirs.source"
WRONG = [
    ({"path": "x{decay}/final.pt"}, "path", "the same for every refit; write {seed}"),
    ({"path": "x/{seed}.pt"}, "path", "the same for every weight decay; write {decay}"),
    ({"path": "x/{sead}{decay}{seed}.pt"}, "path", "{sead} stands for nothing; there are {seed}"),
    ({"path": "x/{seed}{decay.pt"}, "path", "is no pattern"),
    ({"path": "/x/{seed}{decay}"}, "path", "must be relative"),
    ({"path": "{name}{decay}"}, "names", "lacks what {name} stands for with seed 1"),
    ({"decays": {"0": ""}}, "decays", "lacks what {decay} stands for at weight decay 0.1"),
    ({"revision": None}, "revision", "missing; name the commit"),
    ({"repo": None}, "revision", "local files have no revision; remove it"),
    ({"repo": "weights"}, "repo", "must be owner/name"),
    ({"revision": "main"}, "revision", "'main' changes with time; name a commit"),
    ({"type": "onnx"}, "type", "'onnx' is not one of transformerlens, huggingface"),
    ({"activation": "relu"}, "activation", "one of 'gelu' or 'gelu_tanh'"),
    ({"sha256": {"a": "12"}}, "sha256.a", "must be 64 hexadecimal digits"),
    ({"file": "x"}, "file", "unknown key 'file'"),
]


@pytest.mark.parametrize(("change", "key", "text"), WRONG)
def test_wrong_sources_are_named(change, key, text):
    config = edited()
    config["architectures"]["theirs"]["source"] |= change
    with pytest.raises(UserError) as error:
        check_config(config)
    assert f"  {SOURCE}.{key}: " in str(error.value)
    assert text in str(error.value)


def test_other_wrong_sources():
    for changes, text in (
        ({"training__checkpoint_steps": [0]}, f"{SOURCE}.path: the same for every step"),
        (
            {"refits": {"init_seeds": [1, 2], "data_seeds": [1]}},
            f"{SOURCE}.path: refits cross two seeds: write {{init_seed}} and {{data_seed}}",
        ),
        (
            {"architectures__local__source": {"type": "huggingface"}},
            "architectures.local.source.path: missing; give a local folder, or repo and revision",
        ),
        (
            {"architectures__local__source": {"type": "transformerlens"}},
            "architectures.local.source.path: missing; add it",
        ),
    ):
        with pytest.raises(UserError) as error:
            check_config(edited(**changes))
        assert text in str(error.value)


def test_a_missing_file_is_named_by_its_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        Study(edited()).check_files()
    text = "architectures.local.source.path: models/a/config.json is not a file"
    assert text in str(error.value)


@pytest.fixture
def folder(tmp_path):
    """A folder with the local weights, each of a content of its own."""
    for name in ("a", "b", "a-wd", "b-wd"):
        place = tmp_path / "models" / name
        place.mkdir(parents=True)
        (place / "config.json").write_text("{}")
        (place / "model.safetensors").write_text(name)
    return tmp_path


def test_every_cell_is_made_by_one_rule(folder):
    study, plan = Study(edited()), plan_of_config(edited(), folder)
    made = {path: job.rule for job in plan.jobs for path in job.outputs}
    assert len(made) == sum(len(job.outputs) for job in plan.jobs)
    of_cells = {p: r for p, r in made.items() if p.endswith(("provenance.json", "download.json"))}
    assert set(of_cells) == {*study.every(study.paths.provenance)} | {
        path for path in study.every(study.paths.download) if "/theirs/" in path
    }
    for path, rule in of_cells.items():
        kind = "download_weights" if path.endswith("download.json") else "import_weights"
        assert rule == ("train" if "/ours/" in path else kind)
    assert not any("/theirs/" in p or "/local/" in p for p in made if p.endswith("training.csv"))


def test_reasons_name_keys_of_the_config(folder):
    """Of imports, which other studies' tests leave out."""
    cell = {"architecture": "theirs", "weight_decay": "0", "refit": "seed1"}
    jobs = [job for job in plan_of_config(edited(), folder).jobs if job.wildcards == cell]
    found = {
        (job.rule, place): key_in_words(place, cell)
        for job in jobs
        for place in job.parameter["spec"]
    }
    source = "architectures.theirs.source"
    assert found["download_weights", "places"] == found["import_weights", "places"] == source
    assert found["import_weights", f"{source}.sha256"] == f"{source}.sha256"
    assert found["import_weights", "source_activation"] == f"{source}.activation"
    content = f"{source}.path (content of the files)"
    assert found["import_weights", "source_content"] == content
    assert found["import_weights", "shape"] == "architectures.theirs"


def test_what_an_import_depends_on(folder):
    def parameters(**changes):
        plan = plan_of_config(edited(**changes), folder)
        of_cells = [job for job in plan.jobs if "refit" in job.wildcards]
        found = {}
        for job in of_cells:
            cell = job.wildcards["architecture"], job.wildcards["weight_decay"]
            found[job.rule, *cell, job.wildcards["refit"]] = plan.parameter(job)
        return found

    def changed(after):
        assert before.keys() == after.keys()
        return {(key[0], key[1]) for key in before if before[key] != after[key]}

    before = parameters()
    trained = changed(parameters(training__learning_rate=1.0e-3))
    assert ("train", "ours") in trained
    assert {architecture for _, architecture in trained} == {"ours"}
    moved = changed(parameters(architectures__theirs__source__revision="0" * 40))
    assert {("download_weights", "theirs"), ("import_weights", "theirs")} < moved
    assert ("cache", "theirs") in moved
    assert {architecture for _, architecture in moved} == {"theirs"}
    (folder / "models/a/config.json").write_text("{ }")
    after = parameters()
    assert ("import_weights", "local") in changed(after)
    assert {key[1:] for key in before if before[key] != after[key]} == {("local", "0", "seed1")}
