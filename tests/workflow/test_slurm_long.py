"""What takes a real Slurm more minutes: whole studies from nothing, preemption, edits meanwhile."""

import re
from collections import Counter

import pytest
from cluster import ended, run
from driver import (
    SMOKE,
    TINY,
    contents,
    copy_repository,
    snakemake,
    start,
    wait_for,
    write_tiny,
)
from on_slurm import (
    CELLS,
    CLUSTER,
    LONG_WAIT,
    RESULTS,
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
    write_profile,
)

pytestmark = pytest.mark.long
ONE = f"{CELLS}/seed1/provenance.json"


@pytest.fixture
def unfinished(slurm, tiny, tmp_path):
    """A study whose cells are to be trained, slowly, on the cluster."""
    return copy_of(tiny, tmp_path / "repository", *RESULTS, slow=True)


@pytest.fixture
def expected(tiny):
    return contents(tiny / "results/tiny")


def test_a_whole_study_through_the_profile(slurm, smoke, tmp_path):
    folder = copy_repository(tmp_path / "repository")
    write_profile(folder)
    output = snakemake(folder, *SMOKE, *CLUSTER, timeout=1800)
    assert contents(folder / "results/smoke") == contents(smoke / "results/smoke")
    jobs = Counter(re.findall(r"has been submitted .*/rule_(\w+)/", output))
    # 8 cells of 4 conditions; caches and similarities of untrained ones, too.
    assert jobs == Counter(
        dict.fromkeys(("corpus", "tokenizer", "tokens"), 1)
        | dict.fromkeys(("train", "ablation", "evaluate", "role_scores"), 8)
        | {"cache": 8 + 4, "similarity": 4 + 2, "stability": 4 + 2, "meta_sne_table": 2}
        | {"measures": 4 + 2, "adjust": 4 + 2, "twins": 2}
        | dict.fromkeys(("residual_similarity", "norms", "prefixes"), 4)
        | dict.fromkeys(("head_atlas_table", "role_stability"), 4)
    )
    assert "Nothing to be done" in snakemake(folder, *SMOKE, *CLUSTER)


def test_a_whole_study_by_one_pilot_that_shares_gpus(slurm, smoke, tmp_path):
    folder = copy_repository(tmp_path / "repository")
    number = submit(folder, "--time=30", "--gpus=2", "--", *SMOKE)
    wait_for(lambda: over(number), timeout=1800)
    log = pilot_log(folder, number)
    assert ended(number)[0] == "COMPLETED", log
    assert "gpu_slots=8" in log, "two GPUs, four places on each"
    assert contents(folder / "results/smoke") == contents(smoke / "results/smoke")


def test_preempted_training_is_queued_again_and_goes_on(unfinished, expected):
    process = start(unfinished, ONE, *TINY, *CLUSTER)
    wait_for(lambda: has_saved(unfinished, "seed1"), process, LONG_WAIT)
    number = number_of(unfinished, "seed1")
    urgent = ("-p", "urgent", "--exclusive", "-D", "/tmp", "--output=/dev/null")
    run("sbatch", *urgent, "--wrap=sleep 3")
    wait_for(lambda: resumed_at(unfinished, "seed1"), process, LONG_WAIT)
    (unfinished / "slow").unlink()
    assert process.wait(timeout=LONG_WAIT) == 0, said(unfinished)
    assert ended(number)[0] == "COMPLETED"
    assert len(submitted(unfinished)) == 1, "Slurm's second start is no second attempt"
    assert resumed_at(unfinished, "seed1") > 0
    assert_trained(unfinished, expected, "seed1")


def test_a_config_edited_meanwhile_does_not_reach_jobs_of_the_run(unfinished, expected):
    run("scontrol", "update", "PartitionName=cpu", "State=DOWN")
    try:
        process = start(unfinished, ONE, *TINY, *CLUSTER)
        wait_for(lambda: number_of(unfinished, "seed1"), process, LONG_WAIT)
        study = unfinished / "tiny.yaml"
        text = study.read_text()
        study.write_text(text.replace("learning_rate: 0.01", "learning_rate: 0.02"))
        assert study.read_text() != text
        (unfinished / "slow").unlink()
    finally:
        run("scontrol", "update", "PartitionName=cpu", "State=UP")
    assert process.wait(timeout=LONG_WAIT) == 0, said(unfinished)
    assert_trained(unfinished, expected, "seed1")
    planned = snakemake(unfinished, ONE, "--dry-run", *TINY)
    assert "Training one, wd 0.1, seed1" in planned, "and is seen by the next run"


def test_code_edited_meanwhile_stops_the_jobs_that_use_it(unfinished):
    run("scontrol", "update", "PartitionName=cpu", "State=DOWN")
    try:
        process = start(unfinished, ONE, *TINY, *CLUSTER, "--retries", "0")
        wait_for(lambda: number_of(unfinished, "seed1"), process, LONG_WAIT)
        model = unfinished / "scripts/headstability/models/transformer.py"
        model.write_text(model.read_text().replace("LAYER_NORM_EPS = 1e-5", "LAYER_NORM_EPS = 0.1"))
    finally:
        run("scontrol", "update", "PartitionName=cpu", "State=UP")
    assert process.wait(timeout=LONG_WAIT) == 1
    assert "changed after Snakemake started" in cell_log(unfinished, "seed1")
    assert not (unfinished / ONE).exists()


def test_jobs_of_a_run_that_was_killed_are_named(unfinished, expected):
    """They work on; the next run says so, and what they finish is kept."""
    process = start(unfinished, ONE, *TINY, *CLUSTER)
    wait_for(lambda: has_saved(unfinished, "seed1"), process, LONG_WAIT)
    process.kill()
    process.wait(timeout=60)
    number = number_of(unfinished, "seed1")
    snakemake(unfinished, "--unlock", *TINY)
    second = start(unfinished, f"{CELLS}/seed2/provenance.json", *TINY, *CLUSTER)
    wait_for(lambda: "still has jobs of a former run" in said(unfinished), second, LONG_WAIT)
    assert re.search(rf"in this folder: {number}\.", said(unfinished))
    run("scancel", number)
    (unfinished / "slow").unlink()
    assert second.wait(timeout=LONG_WAIT) == 0, said(unfinished)
    assert_trained(unfinished, expected, "seed2")


def test_a_study_that_asks_for_gpus_gets_them(slurm, tmp_path, monkeypatch):
    folder = copy_repository(tmp_path / "repository")
    write_tiny(folder)
    write_profile(folder)
    snakemake(folder, "results/tiny/corpus/tokens.json", "--cores", "2", *TINY)
    monkeypatch.setenv("HEADSTABILITY_GPU_PARTITION", "gpu")
    process = start(folder, ONE, *TINY, *CLUSTER)
    wait_for(lambda: number_of(folder, "seed1"), process, LONG_WAIT)
    shown = run("scontrol", "show", "job", number_of(folder, "seed1"))
    assert "Partition=gpu" in shown
    assert "gres:gpu:1" in shown or "gres/gpu=1" in shown, shown
    assert process.wait(timeout=LONG_WAIT) == 0, said(folder)
