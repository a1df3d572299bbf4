"""Studies on a real one-node Slurm: through the profile, and as a pilot inside one job.

What waits is started together at the beginning and looked at in turn: most of the time is spent
waiting for the cluster. Every job costs 4 s of CPU beside its work, so this file submits one of
the smoke study's four conditions, and draws the figures of `FEW`. They rest on training, caches,
similarity, stability and ablation; test_slurm_long.py submits every job of the whole study.
"""

import re
import signal

import pytest
from cluster import ended, queue, run
from driver import SMOKE, TINY, contents, dry_run, snakemake, start, wait_for
from on_slurm import (
    CELLS,
    CLUSTER,
    LONG_WAIT,
    RESULTS,
    TWO_MINUTES,
    assert_trained,
    cell_log,
    copy_of,
    has_saved,
    number_of,
    over,
    pilot_log,
    resumed_at,
    said,
    submit,
    submitted,
    training_process,
)

FEW = ["layer_stability", "stability_ablation"]
SMOKE_GONE = [f"results/smoke/{name}" for name in ("*/two/wd0.1", "tables", "figures")]


@pytest.fixture(scope="module")
def runs(slurm, smoke, tiny, tmp_path_factory):
    """Everything this file looks at, started at once.

    `smoke`: begun on this machine; one condition, tables and figures left to the cluster. `hit`:
    two trainings to be hit. `late`: one that meets its time limit. `pilot`: two pilots, the first
    cut short.
    """
    home = tmp_path_factory.mktemp("runs")
    folders = {
        "smoke": copy_of(smoke, home / "smoke", *SMOKE_GONE),
        "hit": copy_of(tiny, home / "hit", *RESULTS, slow=True),
        "late": copy_of(tiny, home / "late", *RESULTS, slow=True, **TWO_MINUTES),
        "pilot": copy_of(tiny, home / "pilot", *RESULTS, slow=True),
    }
    with (folders["smoke"] / SMOKE[1]).open("a") as study:
        study.write(f"figures: {{include: [{', '.join(FEW)}]}}\n")
    targets = [f"{CELLS}/seed{seed}/provenance.json" for seed in (1, 2)]
    processes = {
        "hit": start(folders["hit"], *targets, *TINY, *CLUSTER),
        "late": start(folders["late"], targets[0], *TINY, *CLUSTER),
    }
    cut = ("--time=2", "--signal=B:USR1@60", "--", *targets, *TINY)
    pilots = [submit(folders["pilot"], *cut)]
    pilots += [submit(folders["pilot"], "--time=9", "--", *TINY)]
    processes["smoke"] = start(folders["smoke"], *SMOKE, *CLUSTER)
    yield {"folders": folders, "processes": processes, "pilots": pilots}
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


@pytest.fixture
def expected(tiny):
    return contents(tiny / "results/tiny")


# --- settings of the site -----------------------------------------------------------------


def test_a_wrong_setting_is_named_before_anything_is_submitted(slurm, tiny, tmp_path, monkeypatch):
    folder = copy_of(tiny, tmp_path / "repository", "results/tiny/conditions")
    before = {job["id"] for job in queue()}
    monkeypatch.setenv("HEADSTABILITY_PARTITION", "nowhere")
    output = snakemake(folder, *TINY, *CLUSTER, ok=False)
    assert "The partition of jobs that need no GPU is 'nowhere'" in output
    assert "set HEADSTABILITY_PARTITION, or partition in profiles/slurm/site.yaml" in output
    assert "There are: cpu, gpu, short, urgent" in output
    assert "Traceback" not in output
    assert not [job for job in queue() if job["folder"] == str(folder) and job["id"] not in before]


# --- through the profile ------------------------------------------------------------------


def test_training_that_is_hit_is_noticed_retried_and_resumed(runs, expected):
    folder, process = runs["folders"]["hit"], runs["processes"]["hit"]
    for refit in ("seed1", "seed2"):
        wait_for(lambda r=refit: has_saved(folder, r), process, LONG_WAIT)
    first = {refit: number_of(folder, refit) for refit in ("seed1", "seed2")}
    training_process(folder, "seed2").kill()
    run("scancel", first["seed1"])
    for refit in ("seed1", "seed2"):
        wait_for(lambda r=refit: resumed_at(folder, r), process, LONG_WAIT)
    (folder / "slow").unlink()
    assert process.wait(timeout=LONG_WAIT) == 0, said(folder)
    assert ended(first["seed1"])[0] == "CANCELLED"
    assert ended(first["seed2"])[0] == "FAILED"
    assert len(submitted(folder)) == 4
    for refit in ("seed1", "seed2"):
        assert 0 < resumed_at(folder, refit) < 1000
    assert_trained(folder, expected, "seed1", "seed2")


def test_a_job_is_warned_before_its_limit_and_its_retry_goes_on(runs, expected):
    folder, process = runs["folders"]["late"], runs["processes"]["late"]
    wait_for(lambda: "resumed at step" in cell_log(folder, "seed1"), process, LONG_WAIT)
    (folder / "slow").unlink()
    assert process.wait(timeout=LONG_WAIT) == 0, said(folder)
    (first, _) = [number for _, number in submitted(folder)]
    assert ended(first)[0] == "FAILED", "it left of itself, before the limit"
    log = "\n".join(p.read_text() for p in folder.glob(f"results/.slurm/rule_train/*/{first}.log"))
    (left_at,) = re.findall(r"stopped by SIGUSR1 after step (\d+) of 1000", log)
    assert resumed_at(folder, "seed1") == int(left_at) > 0
    assert_trained(folder, expected, "seed1")


def test_a_study_begun_here_is_finished_there(runs, smoke):
    folder, process = runs["folders"]["smoke"], runs["processes"]["smoke"]
    assert process.wait(timeout=LONG_WAIT) == 0, said(folder)
    found, local = contents(folder / "results/smoke"), contents(smoke / "results/smoke")
    assert found == {path: local[path] for path in found}
    _, plan = dry_run(folder, *SMOKE)
    assert {path.removeprefix("results/smoke/") for path in plan.expected} <= set(found)
    messages = [message for message, _ in submitted(folder)]
    # Two cells: training, cache, ablation; once: similarity and stability.
    assert len(messages) == 8, messages
    assert all("two, wd 0.1" in message for message in messages)
    again = snakemake(folder, *SMOKE, *CLUSTER)
    assert "Nothing to be done" in again
    assert "Nothing to be done" in snakemake(folder, "--cores", "1", *SMOKE)


# --- pilots -------------------------------------------------------------------------------


def test_a_pilot_cut_short_is_continued_by_the_next(runs, expected):
    folder, (first, second) = runs["folders"]["pilot"], runs["pilots"]
    wait_for(lambda: "Submit the same line again" in pilot_log(folder, first), timeout=LONG_WAIT)
    (folder / "slow").unlink()
    stopped = r"(seed\d): stopped by SIGTERM after step (\d+)"
    left_at = dict(re.findall(stopped, pilot_log(folder, first)))
    assert left_at.keys() == {"seed1", "seed2"}
    wait_for(lambda: over(second), timeout=LONG_WAIT)
    assert ended(second)[0] == "COMPLETED", pilot_log(folder, second)
    resumed = dict(re.findall(r"(seed\d): resumed at step (\d+)", pilot_log(folder, second)))
    assert resumed == left_at
    assert contents(folder / "results/tiny") == expected
    third = submit(folder, "--time=9", "--", *TINY)
    wait_for(lambda: over(third), timeout=LONG_WAIT)
    assert ended(third)[0] == "COMPLETED", pilot_log(folder, third)
    assert "Nothing to be done" in pilot_log(folder, third)
