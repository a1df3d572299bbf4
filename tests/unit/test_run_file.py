"""What a run hands to its jobs, and how others get the plan of a study."""

import json
import os
from pathlib import Path

import pytest
from plans import plan_of_config

from headstability.errors import DamagedFile, UserError
from headstability.study.config_file import read_config
from headstability.workflow import run_file
from headstability.workflow.graph import Plan, PlannedJob
from headstability.workflow.run_file import RUN, hand_over, handed_over, plan_of

CONFIG = {"study": "s", "architectures": {"z": {"layers": 1}, "a": {"layers": 2}}, "decays": [0.1]}
CODE = {"train": {"train.py": "0123", "headstability.models.transformer": "4567"}}
JOBS = [
    PlannedJob("corpus", {}, ["results/s/corpus/documents.jsonl"]),
    PlannedJob("tokenizer", {}, ["a.json"], above=[0], parameter={"spec": {"training.clip": None}}),
]
PLAN = Plan(JOBS, [], ["b.csv"], CODE)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(RUN, "")  # so that it is restored, whatever the tests do
    monkeypatch.delenv(RUN)
    return tmp_path


def test_a_job_gets_what_its_run_had(folder, monkeypatch):
    assert handed_over() is None
    hand_over(CONFIG, PLAN)
    monkeypatch.chdir("/")
    config, plan = handed_over()
    assert (config, plan) == (CONFIG, PLAN)
    assert list(config["architectures"]) == ["z", "a"], "tables follow the order of the config"


def test_runs_with_different_configs_do_not_disturb_each_other():
    hand_over(CONFIG, PLAN)
    first = os.environ[RUN]
    hand_over(CONFIG | {"study": "t"}, PLAN)
    second = os.environ[RUN]
    assert first != second
    os.environ[RUN] = first
    assert handed_over()[0]["study"] == "s"
    hand_over(CONFIG, PLAN)
    assert os.environ[RUN] == first
    assert len(list(run_file.FOLDER.iterdir())) == 2


def test_what_is_gone_or_altered_is_not_used():
    hand_over(CONFIG, PLAN)
    (path,) = run_file.FOLDER.iterdir()
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"plan": {}}))
    with pytest.raises(DamagedFile):
        handed_over()
    path.unlink()
    with pytest.raises(UserError, match="is missing"):
        handed_over()


SMOKE = Path(__file__).resolve().parents[2] / "studies/smoke.yaml"


def test_who_asks_from_outside_gets_the_plan_of_a_run(monkeypatch):
    monkeypatch.chdir(SMOKE.parents[1])
    plan, printed = plan_of(SMOKE)
    assert "layer_stability" in printed.split()
    assert plan == plan_of_config(read_config(SMOKE), SMOKE.parents[1])


def test_who_asks_from_outside_gets_the_message_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(SMOKE.parents[1])
    path = tmp_path / "wrong.yaml"
    path.write_text(SMOKE.read_text().replace("refits: 2", "refits: 1"))
    with pytest.raises(UserError, match=r"the config has 1 problem:\n  refits: 1 is not allowed"):
        plan_of(path)
