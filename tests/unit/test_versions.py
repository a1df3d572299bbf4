from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from headstability.storage.files import write_json
from headstability.study import saved_config as versions
from headstability.study.study import Study

CONFIG = {
    "study": "demo",
    "architectures": {"small": {"layers": 1, "heads": 2, "d_model": 8}},
    "refits": 2,
    "training": {"steps": 5},
}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Study(CONFIG)


def trained_with(study, *torch_versions):
    path = study.every(study.paths.provenance)[1]
    write_json(path, {"torch_versions": list(torch_versions)})
    return path


def test_nothing_to_say_before_anything_is_trained(study):
    assert versions.torch_note(study) is None


def test_nothing_to_say_under_the_same_version(study):
    trained_with(study, version("torch"))
    assert versions.torch_note(study) is None
    trained_with(study, "1.0.0", version("torch"))
    assert versions.torch_note(study) is None


def test_another_version_is_named_with_the_way_to_retrain(study):
    path = trained_with(study, "1.0.0")
    note = versions.torch_note(study)
    assert note.startswith(f"Note: {path} was trained with torch 1.0.0, installed is")
    assert version("torch") in note
    assert "snakemake --forcerun train" in note


def test_damaged_provenance_is_left_to_the_rule_that_reads_it(study):
    path = trained_with(study, "1.0.0")
    Path(path).write_text("{")
    assert versions.torch_note(study) is None
    assert Path(path).read_text() == "{"


def test_without_torch_there_is_nothing_to_compare(study, monkeypatch):
    trained_with(study, "1.0.0")

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(versions, "version", missing)
    assert versions.torch_note(study) is None
