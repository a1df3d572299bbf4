"""Runs that are killed: whatever dies and whenever, running again gives the same bytes."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial

import psutil
import pytest
from driver import (
    TINY,
    contents,
    copy_repository,
    environment,
    is_gone,
    kill_group,
    locks,
    running,
    snakemake,
    start,
    unlock,
    wait_for,
    write_tiny,
)

# Saving is seconds apart otherwise; resources are never compared, so nothing is rebuilt for it.
OFTEN = ("--set-resources", "train:save_seconds=0")
CELL = "one/wd0.1/seed1"
HOME = f"results/tiny/cells/{CELL}"
TRAINED = f"{HOME}/provenance.json"
CACHED = f"{HOME}/caches/step1000/passages.zarr.zip"
STATE = f"{HOME}/.resume/state.safetensors"

# Rules by name; "figures" stands for the tables and figures that come after stability.
STAGES = ["corpus", "tokenizer", "tokens", "prompts", "train", "cache", "ablation", "refits"]
STAGES += ["similarity", "stability", "figures"]
WAYS = ["machine", "snakemake", "job", "SIGTERM", "SIGINT"]
SHORT = ["tokens", "train", "train", "cache", "stability"]
LONG = ["corpus", "tokenizer", "tokens", "prompts", *["train"] * 5, *["cache"] * 3]
LONG += [*["ablation"] * 3, "refits", *["similarity"] * 2, *["stability"] * 2, *["figures"] * 3]


def stage_of(rule):
    return rule if rule in STAGES else "figures"


def jobs_of(process, stage):
    return [(rule, job) for rule, job in running(process) if stage_of(rule) == stage]


def reach(folder, stage, draw):
    """Start a run and return it at a random moment of a stage; a finished stage is run again."""
    rule = "head_map_table" if stage == "figures" else stage
    longest = 3 if stage == "train" else 1.5
    for attempt in range(8):
        unlock(folder, *TINY)
        planned = snakemake(folder, "--dry-run", *TINY)
        again = () if re.search(rf"^{rule} +\d", planned, re.MULTILINE) else ("--forcerun", rule)
        process = start(folder, "--cores", "2", *TINY, *OFTEN, *again)
        wait_for(lambda p=process: jobs_of(p, stage), process)
        # How long a stage takes depends on the machine: wait half as long after every miss.
        end = time.monotonic() + draw.uniform(0, longest / 2**attempt)
        while time.monotonic() < end and jobs_of(process, stage):
            time.sleep(0.02)
        if jobs_of(process, stage):
            return process
        process.wait(timeout=400)
    raise AssertionError(f"{stage} always ended before it could be killed")


def strike(process, stage, way, draw):
    """Kill a run in one of the WAYS and see it end; returns the rules whose jobs were hit."""
    jobs = running(process)
    if way == "machine":
        kill_group(process)
    elif way == "snakemake":
        process.kill()
        process.wait(timeout=60)
        wait_for(lambda: all(is_gone(job) for _, job in jobs), timeout=60)
    elif way == "job":
        meant = jobs_of(process, stage) or jobs  # none if all ended in that very moment
        jobs = draw.sample(meant, min(1, len(meant)))
        for _, job in jobs:
            job.kill()
        process.wait(timeout=400)
    else:
        # A closed session signals Snakemake alone, Ctrl-C all of its group.
        send = process.send_signal if way == "SIGTERM" else partial(os.killpg, process.pid)
        send(getattr(signal, way))
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            # Snakemake's handler asks for a lock that is not re-entrant: a signal that arrives
            # while the main thread holds it makes Snakemake wait for itself. Users kill it then.
            kill_group(process)
    wait_for(lambda: all(is_gone(job) for _, job in jobs), timeout=60)
    return [rule for rule, _ in jobs]


def assert_whole(folder, expected):
    """Every output that exists has its final bytes, whatever was killed."""
    for path, sha256 in contents(folder / "results/tiny").items():
        if "/.resume/" not in path and not path.endswith(".part"):
            assert sha256 == expected[path], path


def survive(folder, expected, stages, seed):
    """Run a study that is killed once in each of `stages`; returns how often a stage was hit."""
    draw = random.Random(seed)
    ways = [way for _ in range(0, len(stages), len(WAYS)) for way in draw.sample(WAYS, len(WAYS))]
    hits = Counter()
    for stage, way in zip(stages, ways, strict=False):
        for _ in range(5):
            process = reach(folder, stage, draw)
            rules = strike(process, stage, way, draw)
            print(f"{way} during {', '.join(rules)}")
            if process.returncode != 0:
                break  # otherwise what was to be killed ended in that very moment
        assert process.returncode != 0, "nothing was interrupted"
        hits.update({stage_of(rule) for rule in rules})
        hits["kills"] += bool(rules)
        output = (folder / "run.log").read_text()
        if way != "SIGINT":
            assert "Traceback" not in output, output
        assert_whole(folder, expected)
    unlock(folder, *TINY)
    snakemake(folder, "--cores", "2", *TINY, *OFTEN)
    assert contents(folder / "results/tiny") == expected
    assert "Nothing to be done" in snakemake(folder, "--cores", "2", *TINY)
    print(dict(hits))
    return hits


@pytest.fixture
def fresh(tmp_path):
    """A copy of the repository in which the study TINY has not run yet."""
    folder = copy_repository(tmp_path / "repository")
    write_tiny(folder)
    return folder


@pytest.fixture
def unfinished(tiny, tmp_path):
    """A copy of the finished study in which CELL waits to be trained again."""
    folder = tmp_path / "repository"
    shutil.copytree(tiny, folder)
    shutil.rmtree(folder / HOME / "checkpoints")
    (folder / TRAINED).unlink()
    (folder / HOME / "training.csv").unlink()
    return folder


@pytest.fixture
def expected(tiny):
    return contents(tiny / "results/tiny")


def train(folder):
    """Start training CELL alone and wait until it has saved its state."""
    before = (folder / STATE).stat().st_mtime_ns if (folder / STATE).exists() else 0
    process = start(folder, TRAINED, "--cores", "1", *TINY, *OFTEN)
    state = folder / STATE
    wait_for(lambda: state.exists() and state.stat().st_mtime_ns > before, process)
    return process


def resumed_at(folder):
    """The step at which the cell's last job went on, from its log."""
    log = (folder / f"results/tiny/logs/train/{CELL}.log").read_text()
    found = re.findall(rf"{CELL}: resumed at step (\d+) of 1000", log)
    assert len(found) == 1, log
    return int(found[0])


# --- kills at random moments --------------------------------------------------------------


def test_killed_at_five_random_moments(fresh, expected):
    hits = survive(fresh, expected, SHORT, seed=1)
    assert hits["kills"] == len(SHORT) == 5
    assert hits["train"] >= 1


@pytest.mark.long
def test_killed_at_many_random_moments(fresh, expected):
    hits = survive(fresh, expected, LONG, seed=2)
    assert hits["kills"] == len(LONG) >= 20
    assert all(hits[stage] for stage in ("train", "cache", "ablation", "similarity")), hits


# --- kills at chosen moments --------------------------------------------------------------


def test_training_killed_goes_on_from_its_state(unfinished, expected):
    process = train(unfinished)
    kill_group(process)
    assert not (unfinished / TRAINED).exists()
    assert locks(unfinished)
    assert "A former run was killed" in unlock(unfinished, *TINY)
    assert not locks(unfinished)
    snakemake(unfinished, TRAINED, "--cores", "1", *TINY)
    assert 0 < resumed_at(unfinished) < 1000
    assert contents(unfinished / "results/tiny") == expected


def test_training_notices_that_snakemake_was_killed(unfinished, expected):
    process = train(unfinished)
    ((rule, job),) = running(process)
    assert rule == "train"
    process.kill()
    process.wait(timeout=60)
    wait_for(lambda: is_gone(job), timeout=60)
    assert "stopped by SIGTERM" in (unfinished / "run.log").read_text()
    unlock(unfinished, *TINY)
    snakemake(unfinished, TRAINED, "--cores", "1", *TINY)
    assert 0 < resumed_at(unfinished) < 1000
    assert contents(unfinished / "results/tiny") == expected


def test_a_job_notices_that_snakemake_was_killed_while_it_was_starting(unfinished):
    process = start(unfinished, TRAINED, "--cores", "1", *TINY, *OFTEN)
    wait_for(lambda: running(process), process)
    ((_, job),) = running(process)
    process.kill()
    process.wait(timeout=60)
    wait_for(lambda: is_gone(job), timeout=60)
    assert not (unfinished / TRAINED).exists(), "the orphan worked on to the end"


def test_caching_killed_while_writing(tiny, tmp_path, expected):
    folder = tmp_path / "repository"
    shutil.copytree(tiny, folder)
    (folder / CACHED).unlink()
    with (folder / "scripts/job.py").open("a") as script:  # not part of what is hashed
        script.write(
            "\n\nimport os, time\n_replace = os.replace\n"
            "os.replace = lambda *paths: (time.sleep(5), _replace(*paths))\n"
        )
    process = start(folder, CACHED, "--cores", "1", *TINY)
    parts = (folder / CACHED).parent
    wait_for(lambda: list(parts.glob(".*.part")), process)
    assert [rule for rule, _ in running(process)] == ["cache"]
    kill_group(process)
    assert list(parts.glob(".*.part"))
    assert not (folder / CACHED).exists()
    shutil.copy2(tiny / "scripts/job.py", folder / "scripts/job.py")
    unlock(folder, *TINY)
    snakemake(folder, CACHED, "--cores", "1", *TINY)
    assert contents(folder / "results/tiny") == expected, "and what was half-written is gone"


def test_signals_to_a_training_job_save_its_state(unfinished, expected):
    left_at = 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        process = train(unfinished)
        assert not left_at or resumed_at(unfinished) == left_at
        ((_, job),) = running(process)
        job.send_signal(number)
        wait_for(lambda j=job: is_gone(j), timeout=60)
        assert process.wait(timeout=60) != 0
        output = (unfinished / "run.log").read_text()
        message = re.findall(
            rf"{CELL}: stopped by {number.name} after step (\d+) of 1000; the state is saved, "
            "run the same command again to go on",
            output,
        )
        assert len(message) == 1, output
        assert "Traceback" not in output
        assert not (unfinished / TRAINED).exists()
        left_at = int(message[0])
        assert left_at > 0
    snakemake(unfinished, TRAINED, "--cores", "1", *TINY)
    assert resumed_at(unfinished) == left_at
    assert contents(unfinished / "results/tiny") == expected


def test_what_is_below_a_job_that_failed_after_an_edit_is_not_left_stale(tiny, tmp_path):
    """Snakemake removes the old output of a failed job; the old tables below it must not stand."""
    folder = tmp_path / "repository"
    shutil.copytree(tiny, folder)
    before = contents(folder / "results/tiny")
    script = folder / "scripts/conditions/stability.py"
    loop = "for name, table in condition_tables(similarity, refits).items():\n"
    half = "table = table.assign(**{c: table[c] / 2 for c in table if c == 'stability'})"
    assert loop in script.read_text()
    script.write_text(script.read_text().replace(loop, f"{loop}        {half}\n"))
    process = start(folder, "--cores", "1", *TINY)
    wait_for(lambda: jobs_of(process, "stability"), process)
    assert strike(process, "stability", "job", random.Random(0)) == ["stability"]
    snakemake(folder, "--cores", "2", *TINY)
    after = contents(folder / "results/tiny")
    assert after.keys() == before.keys()
    assert after["tables/heads.csv"] != before["tables/heads.csv"]


# --- two at once --------------------------------------------------------------------------


def test_a_second_run_is_refused_and_a_live_run_is_not_unlocked(unfinished, expected):
    process = train(unfinished)
    held = locks(unfinished)
    assert held
    ((_, job),) = running(process)
    job.suspend()
    try:
        refused = snakemake(unfinished, TRAINED, "--cores", "1", *TINY, ok=False)
        assert "Directory cannot be locked" in refused
        assert "Traceback" not in refused
        assert unlock(unfinished, *TINY) == ""
        assert locks(unfinished) == held
    finally:
        job.resume()
    assert process.wait(timeout=400) == 0, (unfinished / "run.log").read_text()
    assert contents(unfinished / "results/tiny") == expected
    assert not locks(unfinished)


def test_a_second_process_on_the_same_cell_is_refused(unfinished, expected):
    process = train(unfinished)
    ((_, job),) = running(process)
    job.suspend()
    try:
        second = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; sys.path.insert(0, 'scripts')\n"
                "from pathlib import Path\n"
                "from headstability.storage.locks import exclusive_lock\n"
                f"exclusive_lock(Path('{HOME}/.resume/lock'), '{CELL}', patience=1)\n",
            ],
            cwd=unfinished,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        job.resume()
    assert second.returncode != 0
    assert f"{CELL}: another process is at work on it" in second.stderr
    assert f"fuser {HOME}/.resume/lock" in second.stderr
    assert process.wait(timeout=400) == 0, (unfinished / "run.log").read_text()
    assert contents(unfinished / "results/tiny") == expected


@pytest.mark.long
def test_two_repositories_that_share_results(unfinished, tmp_path, expected):
    """Snakemake's own lock does not cover this; the cell's does."""
    other = tmp_path / "other"
    shutil.copytree(unfinished, other)
    shutil.rmtree(other / "results")
    (other / "results").symlink_to(unfinished / "results")
    process = train(unfinished)
    ((_, job),) = running(process)
    job.suspend()
    try:
        output = snakemake(other, TRAINED, "--cores", "1", *TINY, *OFTEN, ok=False)
    finally:
        job.resume()
    assert output.count(f"{CELL}: another process is at work on it") == 1
    assert "Traceback" not in output
    assert process.wait(timeout=400) == 0, (unfinished / "run.log").read_text()
    assert contents(unfinished / "results/tiny") == expected
    assert psutil.pid_exists(job.pid) is False
