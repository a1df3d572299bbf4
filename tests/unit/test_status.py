"""How far a study is, on made-up folders: records, logs and outputs as runs leave them."""

import json
import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from test_study import config

from headstability import follow as follow_module
from headstability import liveness
from headstability.follow import follow
from headstability.jobs import Parameters, canonical, expected_files, planned_jobs
from headstability.liveness import begin_run, last_run
from headstability.paths import fill
from headstability.progress import Progress, last_reading
from headstability.status import Observer
from headstability.status_text import headline, overview
from headstability.study import Study

SCRIPTS = Path(liveness.__file__).resolve().parents[1]
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
    for name, values, outputs in planned_jobs(study):
        if name == rule and wildcards.items() <= values.items():
            content = {
                "rule": rule,
                "log": [log_of(rule, values)],
                "starttime": begun,
                "endtime": begun + seconds,
                "params": [repr(parameter)] if parameter else [],
            }
            for output in outputs:
                touch(output)
                touch(record("metadata", output), text=json.dumps(content))


def begin(study, rule, when=NOW - 20, job=None, **wildcards):
    """Mark jobs as begun, as Snakemake does; `job`: their number on a cluster."""
    for name, values, outputs in planned_jobs(study):
        if name == rule and wildcards.items() <= values.items():
            for output in outputs:
                touch(record("incomplete", output), when, json.dumps({"external_jobid": job}))


def run(monkeypatch, held=True, here=True, started=STARTED):
    found = liveness.Run(started, here, held)
    monkeypatch.setattr("headstability.status.last_run", lambda study: found)


CELL = {"architecture": "small", "weight_decay": "0", "refit": "seed1"}
LINE = "small/wd0/seed1:  25 % [#####               ] 10/40, 00:33 left, loss 4.130, 1,206 tokens/s"


def training_log(study, text=f"{LINE}\n", when=NOW - 5, **wildcards):
    paths = study.paths
    touch(fill(paths.log_of(f"train/{paths.cell_name}"), **{**CELL, **wildcards}), when, text)


def look(study, parameters=None):
    return Observer(study, parameters).look(NOW)


# --- progress lines -----------------------------------------------------------------------


def test_progress_lines_are_read_as_they_are_written(capsys):
    progress = Progress("deep/wd0/seed1", 700, done=100, interval=0)
    progress.started -= 50
    progress.update(400, "loss 4.107, 60,843 tokens/s")
    text = capsys.readouterr().err
    reading = last_reading(f"resumed\n{LINE}\n{text}later words: 3 % of it\n")
    assert (reading.done, reading.total) == (400, 700)
    assert reading.note == "loss 4.107, 60,843 tokens/s"
    assert reading.seconds == pytest.approx(50, abs=2)
    progress.update(700)
    assert last_reading(capsys.readouterr().err).note == ""
    Progress("x", 5, interval=-1).update(0, "begun")
    assert last_reading(capsys.readouterr().err).seconds is None
    assert last_reading("two/wd0/seed1: resumed at step 3 of 10") is None


@pytest.mark.parametrize(("left", "seconds"), [("00:33", 33), ("12:05", 725), ("2:00:01", 7201)])
def test_times_left_in_seconds(left, seconds):
    assert last_reading(LINE.replace("00:33", left)).seconds == seconds


# --- states -------------------------------------------------------------------------------


def test_nothing_there_is_not_started(study):
    snapshot = look(study)
    assert {job.state for job in snapshot.jobs} == {"waiting"}
    assert "Study demo: not started." in overview(snapshot)
    assert "unknown until a training has begun" in overview(snapshot)
    assert sum(sum(states.values()) for states in snapshot.counts.values()) == len(snapshot.jobs)
    assert snapshot.counts["cells"] == {"waiting": 8}


def test_every_expected_file_belongs_to_one_job(study):
    paths = [path for _, _, outputs in planned_jobs(study) for path in outputs]
    assert sorted(paths) == sorted(path for path, _ in expected_files(study))
    trainings = [outputs for rule, _, outputs in planned_jobs(study) if rule == "train"]
    assert {len(outputs) for outputs in trainings} == {3}, "weights, table and provenance"


def test_all_there_is_complete(study):
    for path, _ in expected_files(study):
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
    assert line.endswith("step 10 of 40 (25%), loss 4.130, 1,206 tokens/s, 00:33 left")
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
    training_log(study, f"\nError in train: {message}\n\nTraceback ...\n")
    training_log(study, "Error in train: of a former run\n", when=STARTED - 5, refit="seed2")
    stopped = "small/wd0.1/seed1: stopped by SIGTERM after step 2 of 40; the state is saved, run"
    stopped = f"Error in train: {stopped} the same command again to go on"
    training_log(study, stopped, weight_decay="0.1")
    text = overview(look(study))
    assert f"results/demo/logs/train/small/wd0/seed1.log: {message}" in text
    assert text.count(".log:") == 1


def test_results_of_another_config_count_as_waiting(study):
    parameters = Parameters(study, SCRIPTS)
    now = canonical(parameters.of("train", CELL))
    finish(study, "train", parameter=now, **CELL)
    other = {**CELL, "refit": "seed2"}
    finish(study, "train", parameter=now.replace('"steps": 40', '"steps": 41'), **other)
    assert look(study, parameters).counts["cells"] == {"done": 1, "waiting": 7}
    assert look(study).counts["cells"] == {"done": 2, "waiting": 6}


def test_records_are_read_again_when_they_change(study):
    observer = Observer(study, Parameters(study, SCRIPTS))
    now = canonical(observer.parameters.of("train", CELL))
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
        "import time; from headstability.liveness import begin_run; begin_run('demo');"
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
    end = follow(Observer(study), lines.append, interval=0.02)
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
    end = follow(Observer(study), lines.append, interval=0.02, longest=0.1)
    deadline = time.monotonic() + 60
    while len(lines) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    end()
    assert len(lines) >= 2
    assert follow_module.INTERVAL >= 5, "looking costs little, but not nothing"
