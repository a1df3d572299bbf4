"""Time left, reckoned from finished and running jobs of made-up folders."""

from pathlib import Path

import pytest
from test_status import (
    CELL,
    STARTED,
    begin,
    finish,
    log_of,
    look,
    plan,
    raw,
    run,
    touch,
    training_log,
)

from headstability.monitor.text import duration, headline, overview
from headstability.study.paths import fill
from headstability.study.study import Study


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Study(raw())


def finish_all_but(study, *rules, seconds=10.0):
    for rule in {job.rule for job in plan().jobs} - set(rules):
        finish(study, rule, seconds)


def test_time_left_is_that_of_finished_jobs_of_the_same_architecture(study):
    finish_all_but(study, "train", seconds=1)
    finish(study, "train", 100, architecture="small", weight_decay="0", refit="seed1")
    finish(study, "train", 200, begun=STARTED + 100, architecture="small", weight_decay="0.1")
    finish(study, "train", 400, begun=STARTED + 300, architecture="large", refit="seed1")
    snapshot = look(study)
    small, large = (100 + 200 + 200) / 3, 400
    assert snapshot.counts["cells"] == {"done": 5, "waiting": 3}
    assert snapshot.left * snapshot.at_once == pytest.approx(small + 2 * large)


def test_benchmarks_count_before_records_which_hold_waiting(study):
    finish_all_but(study, "train", seconds=1)
    finish(study, "train", 1000, refit="seed1")
    for job in plan().jobs:
        if job.rule == "train":
            path = Path(log_of(job.rule, job.wildcards).replace("/logs/", "/benchmarks/"))
            touch(path.with_suffix(".tsv"), text="s\th:m:s\n7.5\t0:00:07\n")
    snapshot = look(study)
    assert snapshot.left * snapshot.at_once == pytest.approx(4 * 7.5)


def test_a_running_training_tells_of_those_to_come(study, monkeypatch):
    run(monkeypatch)
    finish_all_but(study, "train")
    begin(study, "train", **CELL)
    training_log(study)
    snapshot = look(study)
    one = 40 * 33 / 30
    width, layers, vocabulary = 16, 2, 300
    small = 2 * (layers * 12 * width**2 + vocabulary * width) + 4 * layers * 64 * width
    width, layers = 32, 4
    large = 2 * (layers * 4 * width**2 + vocabulary * width) + 4 * layers * 64 * width
    assert snapshot.left == pytest.approx(33 + 3 * one + 4 * one * large / small)
    assert snapshot.at_once == 1


def test_saved_states_shorten_the_rest(study, monkeypatch):
    run(monkeypatch, held=False)
    finish_all_but(study, "train")
    finish(study, "train", 100)
    for path in (fill(p, **CELL) for p in (study.paths.provenance, study.paths.training)):
        Path(path).unlink()
    touch(Path(fill(study.paths.provenance, **CELL)).parent / ".resume/state.safetensors")
    training_log(study)
    snapshot = look(study)
    assert snapshot.counts["cells"] == {"interrupted": 1, "done": 7}
    assert snapshot.left == pytest.approx(75)


def test_jobs_side_by_side_share_the_time_but_not_below_the_longest(study, monkeypatch):
    run(monkeypatch)
    finish_all_but(study, "train", "ablation", seconds=1)
    finish(study, "train", 1)
    finish(study, "ablation", 100, refit="seed1")
    begin(study, "ablation", refit="seed2", architecture="small")
    snapshot = look(study)
    assert snapshot.at_once == 2
    assert snapshot.left == pytest.approx((2 * (100 - 20) + 2 * 100) / 2)
    finish(study, "ablation", 100, architecture="large")
    assert look(study).left == pytest.approx(80)


def test_kinds_that_have_not_finished_make_it_at_least(study):
    finish_all_but(study, "stability", "layer_stability", "draw_pairwise")
    snapshot = look(study)
    jobs = [job.rule for job in plan().jobs]
    assert snapshot.uncounted == jobs.count("stability") + 1 + jobs.count("draw_pairwise")
    assert "at least" in headline(snapshot)
    assert f"{snapshot.uncounted} jobs are of kinds none of which has finished" in overview(
        snapshot
    )
    finish(study, "layer_stability", 5)
    assert look(study).uncounted == jobs.count("stability"), "one figure tells of others"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12000, "3 h 20 min")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
