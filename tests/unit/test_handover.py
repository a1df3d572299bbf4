"""What a run hands to its jobs on other nodes."""

import json
import os

import pytest

from headstability import handover
from headstability.errors import DamagedFile, UserError
from headstability.handover import RUN, hand_over, handed_over

CONFIG = {"study": "s", "architectures": {"z": {"layers": 1}, "a": {"layers": 2}}, "decays": [0.1]}
CODE = {"train": {"train.py": "0123", "headstability.model": "4567"}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(RUN, "")  # so that it is restored, whatever the tests do
    monkeypatch.delenv(RUN)
    return tmp_path


def test_a_job_gets_what_its_run_had(folder, monkeypatch):
    assert handed_over() is None
    hand_over(CONFIG, CODE)
    monkeypatch.chdir("/")
    config, code = handed_over()
    assert (config, code) == (CONFIG, CODE)
    assert list(config["architectures"]) == ["z", "a"], "tables follow the order of the config"


def test_runs_with_different_configs_do_not_disturb_each_other():
    hand_over(CONFIG, CODE)
    first = os.environ[RUN]
    hand_over(CONFIG | {"study": "t"}, CODE)
    second = os.environ[RUN]
    assert first != second
    os.environ[RUN] = first
    assert handed_over()[0]["study"] == "s"
    hand_over(CONFIG, CODE)
    assert os.environ[RUN] == first
    assert len(list(handover.FOLDER.iterdir())) == 2


def test_what_is_gone_or_altered_is_not_used():
    hand_over(CONFIG, CODE)
    (path,) = handover.FOLDER.iterdir()
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"code": {}}))
    with pytest.raises(DamagedFile):
        handed_over()
    path.unlink()
    with pytest.raises(UserError, match="is missing"):
        handed_over()
