"""How far a study is, on made-up folders: records, logs and outputs as runs leave them."""

import json
import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from plans import plan_of_config
from test_study import config

from headstability.monitor import follow as follow_module
from headstability.monitor.follow import follow
from headstability.monitor.status import Observer
from headstability.monitor.text import headline, overview
from headstability.storage import locks
from headstability.storage.locks import begin_run, last_run
from headstability.storage.progress import JobStatus
from headstability.study.paths import fill
from headstability.study.study import Study
from headstability.workflow.parameters import canonical

SCRIPTS = Path(locks.__file__).resolve().parents[2]
NOW = 2_000_000_000.0
STARTED = NOW - 600


def raw():
    training = {"steps": 40, "batch": 8, "context": 64}
    return config(
        corpus={"type": "sotu"},
        prompts={"passages": {"type": "held_out", "count": 6, "tokens": 20}},
        training=training,
        refits=2,
        figures={"include": ["layer_stability", "pairwise"]},
    )


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Study(raw())


def plan():
    """The jobs of the study as they would run."""
    return plan_of_config(raw())


def parameter_of(rule, **wildcards):
    """The parameter of a job, as text."""
    (found,) = (job for job in plan().jobs if job.rule == rule and job.wildcards == wildcards)
    return canonical(plan().parameter(found))


def touch(path, when=NOW - 300, text=""):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (when, when))


def record(folder, output):
    """Where Snakemake keeps what it knows of an output: names of files have at most 255 bytes."""
    name = urlsafe_b64encode(output.encode()).decode()
    cut = [name[i : i + 254] for i in range(0, len(name), 254)]
    return Path(".snakemake", folder, *(f"@{part}" for part in cut[:-1]), cut[-1])


def log_of(rule, wildcards):
    return f"results/demo/logs/{rule}/{'/'.join(wildcards.values()) or 'all'}.log"


def finish(study, rule, seconds=10.0, begun=STARTED, parameter=None, **wildcards):
    """A finished job, or all jobs of a rule."""
    for planned in plan().jobs:
        if planned.rule == rule and wildcards.items() <= planned.wildcards.items():
            content = {
                "rule": rule,
                "log": [log_of(rule, planned.wildcards)],
                "starttime": begun,
                "endtime": begun + seconds,
                "params": [repr(parameter)] if parameter else [],
            }
            for output in planned.outputs:
                touch(output)
                touch(record("metadata", output), text=json.dumps(content))


def begin(study, rule, when=NOW - 20, job=None, **wildcards):
    """Mark jobs as begun, as Snakemake does; `job`: their number on a cluster."""
    for planned in plan().jobs:
        if planned.rule == rule and wildcards.items() <= planned.wildcards.items():
            for output in planned.outputs:
                touch(record("incomplete", output), when, json.dumps({"external_jobid": job}))


def run(monkeypatch, held=True, here=True, started=STARTED):
    found = locks.Run(started, here, held)
    monkeypatch.setattr("headstability.monitor.status.last_run", lambda study: found)


CELL = {"architecture": "small", "weight_decay": "0", "refit": "seed1"}
# Of steps of 512 tokens.
PROGRESS = {"done": 10, "total": 40, "rate": 30 / 33, "note": "loss 4.130, 465 tokens/s"}


def training_log(study, when=NOW - 5, said=None, **wildcards):
    """The log of a training and what it says of itself: how far it is, unless told otherwise."""
    paths = study.paths
    log = fill(paths.log_of(f"train/{paths.cell_name}"), **{**CELL, **wildcards})
    touch(log, when)
    status = JobStatus(log)
    status.say(**said or {"progress": PROGRESS})
    os.utime(status.path, (when, when))


def look(study):
    return Observer(study, plan()).look(NOW)


# --- states -------------------------------------------------------------------------------


def test_nothing_there_is_not_started(study):
    snapshot = look(study)
    assert {job.state for job in snapshot.jobs} == {"waiting"}
    assert "Study demo: not started." in overview(snapshot)
    assert "unknown until a training has begun" in overview(snapshot)
    assert sum(sum(states.values()) for states in snapshot.counts.values()) == len(snapshot.jobs)
    assert snapshot.counts["cells"] == {"waiting": 8}


def test_all_there_is_complete(study):
    for path in plan().expected:
        touch(path)
    text = overview(look(study))
    assert "complete" in text
    assert "Time left" not in text


def test_a_job_with_part_of_its_files_is_not_done(study):
    finish(study, "train", **CELL)
    Path(fill(study.paths.training, **CELL)).unlink()
    assert look(study).counts["cells"] == {"waiting": 8}


def test_a_running_training_shows_step_loss_speed_and_time(study, monkeypatch):
    run(monkeypatch)
    finish(study, "train", 100, architecture="small", weight_decay="0.1")
    begin(study, "train", **CELL)
    training_log(study)
    snapshot = look(study)
    assert snapshot.counts["cells"] == {"running": 1, "waiting": 5, "done": 2}
    text = overview(snapshot)
    assert "a run is going on since" in text
    line = next(line for line in text.splitlines() if "train small/wd0/seed1" in line)
    assert line.endswith("step 10 of 40 (25%), loss 4.130, 465 tokens/s, 00:33 left")
    assert "2 of 8 cells" in headline(snapshot)
    assert "step 10 of 40 (25%), loss 4.130" in headline(snapshot)
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_training_without_a_line_of_its_own_is_starting(study, monkeypatch):
    run(monkeypatch)
    begin(study, "train", **CELL)
    assert "starting, for 20 s" in overview(look(study))
    training_log(study, when=NOW - 400)  # of an earlier attempt
    assert "starting, for 20 s" in overview(look(study))


def test_a_training_that_writes_nothing_is_called_silent(study, monkeypatch):
    run(monkeypatch)
    begin(study, "train", when=NOW - 590, **CELL)
    training_log(study, when=NOW - 540)
    assert "00:33 left; silent for 9 min" in overview(look(study))


def test_a_killed_run_is_interrupted_and_says_how_to_continue(study, monkeypatch):
    run(monkeypatch, held=False)
    begin(study, "train", **CELL)
    training_log(study)
    touch(Path(fill(study.paths.provenance, **CELL)).parent / ".resume/state.safetensors")
    snapshot = look(study)
    assert snapshot.counts["cells"] == {"interrupted": 1, "waiting": 7}
    text = overview(snapshot)
    assert "interrupted: no run is going on (last sign of life 5 s ago)." in text
    assert "Run the same command to continue." in text
    assert "train small/wd0/seed1  stopped after step 10 of 40 (25%)" in text


def test_marks_of_a_killed_run_are_not_taken_for_jobs_of_the_next(study, monkeypatch):
    run(monkeypatch)
    begin(study, "cache", when=STARTED - 1000, **CELL)
    begin(study, "cache", **{**CELL, "refit": "seed2"})
    snapshot = look(study)
    assert snapshot.counts["caches"] == {"interrupted": 1, "running": 1, "waiting": 6}
    assert "cache small/wd0/seed2, step 40, passages  for 20 s" in overview(snapshot)


def test_a_run_on_another_machine_is_told_by_what_it_writes(study, monkeypatch):
    run(monkeypatch, held=False, here=False)
    begin(study, "train", **CELL)
    training_log(study)
    assert "a run on another machine is going on since" in overview(look(study))
    training_log(study, when=NOW - 500)
    text = overview(look(study))
    assert "no run is going on that can be seen from here (last sign of life 8 min ago)" in text


def test_where_there_are_no_locks_a_run_is_told_by_what_it_writes(study, monkeypatch):
    run(monkeypatch, held=None)
    begin(study, "train", **CELL)
    training_log(study)
    assert look(study).alive
    training_log(study, when=NOW - 500)
    assert not look(study).alive


def test_jobs_on_a_cluster_wait_there_until_they_write(study, monkeypatch):
    run(monkeypatch)
    begin(study, "train", job="17", architecture="small", weight_decay="0")
    training_log(study)
    begin(study, "ablation", job="18", **CELL)
    snapshot = look(study)
    assert snapshot.counts["cells"] == {"running": 1, "queued": 1, "waiting": 6}
    assert "ablation small/wd0/seed1, step 40, passages  with the cluster for 20 s" in overview(
        snapshot
    )


def test_failures_of_the_last_run_are_named(study, monkeypatch):
    run(monkeypatch, held=False)
    message = "small/wd0/seed1: the loss is not finite at step 3 of 40"
    training_log(study, said={"failure": f"{message}\nand so on", "stopped": False})
    former = {"failure": "of a former run", "stopped": False}
    training_log(study, said=former, when=STARTED - 5, refit="seed2")
    training_log(study, said={"failure": "on request", "stopped": True}, weight_decay="0.1")
    text = overview(look(study))
    assert f"results/demo/logs/train/small/wd0/seed1.log: {message}\n" in f"{text}\n"
    assert text.count(".log:") == 1


def test_results_of_another_config_count_as_waiting(study):
    now = parameter_of("train", **CELL)
    finish(study, "train", parameter=now, **CELL)
    other = {**CELL, "refit": "seed2"}
    finish(study, "train", parameter=now.replace('"steps": 40', '"steps": 41'), **other)
    assert look(study).counts["cells"] == {"done": 1, "waiting": 7}


def test_records_are_read_again_when_they_change(study):
    observer = Observer(study, plan())
    now = parameter_of("train", **CELL)
    finish(study, "train", parameter=now.replace('"steps": 40', '"steps": 41'), **CELL)
    assert observer.look(NOW).counts["cells"] == {"waiting": 8}
    finish(study, "train", 11.0, parameter=now, **CELL)
    for path in Path(".snakemake/metadata").rglob("*"):
        os.utime(path, (NOW, NOW))
    assert observer.look(NOW).counts["cells"] == {"done": 1, "waiting": 7}


def test_damaged_records_are_passed_over(study):
    finish(study, "train", **CELL)
    touch(".snakemake/metadata/not-base64!")
    touch(record("metadata", fill(study.paths.provenance, **CELL)), text="{")
    touch(record("incomplete", "results/demo/claims.md"), text="[")
    assert look(study).counts["cells"] == {"done": 1, "waiting": 7}


# --- runs ---------------------------------------------------------------------------------


def test_a_run_is_known_until_its_process_is_gone(study, tmp_path):
    Path(".snakemake").mkdir()
    assert last_run("demo") is None
    program = (
        "import time; from headstability.storage.locks import begin_run, mark_running;"
        "mark_running(); begin_run('demo');"
        "print('begun', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
    )
    try:
        process.stdout.readline()
        found = last_run("demo")
        assert (found.here, found.held) == (True, True)
        assert abs(found.started - time.time()) < 30
        assert last_run("other") is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert last_run("demo").held is False
    Path(".snakemake/headstability.demo.run").write_text("elsewhere\n")
    assert last_run("demo").here is False


def test_without_a_place_for_its_mark_a_run_goes_on(study):
    begin_run("demo")
    assert last_run("demo") is None


def test_a_line_follows_cells_as_they_finish(study, monkeypatch):
    lines = []
    finish(study, "train", **CELL)
    end = follow(Observer(study, plan()), lines.append, interval=0.02)
    time.sleep(0.2)
    assert lines == [], "nothing has changed"
    finish(study, "train", refit="seed2")
    deadline = time.monotonic() + 60
    while not lines and time.monotonic() < deadline:
        time.sleep(0.01)
    end()
    assert lines[-1].startswith("Study demo: ")
    assert "of 8 cells" in lines[-1]
    said = len(lines)
    finish(study, "train")
    time.sleep(0.2)
    assert len(lines) == said, "it has ended"


def test_a_line_appears_now_and_then_in_any_case(study):
    lines = []
    end = follow(Observer(study, plan()), lines.append, interval=0.02, longest=0.1)
    deadline = time.monotonic() + 60
    while len(lines) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    end()
    assert len(lines) >= 2
    assert follow_module.INTERVAL >= 5, "looking costs little, but not nothing"
