"""A target that is not part of the study is explained in one message."""

import pytest
from driver import SMOKE, snakemake

UNKNOWN = {
    "results/smoke/cells/nope/wd0/seed1/checkpoints/step30.safetensors": "architecture 'nope'",
    "results/smoke/cells/one/wd0/seed9/training.csv": "refit 'seed9'",
    "results/smoke/cells/one/wd0/seed1/caches/step30/nope.zarr.zip": "prompts 'nope'",
    "results/smoke/conditions/one/wd0.2/refits.csv": "weight decay '0.2'",
    "results/smoke/conditions/one/wd0/step7/stability/passages/heads.csv": "step '7'",
    "results/smoke/figures/layer_stabilty.png": "Did you mean layer_stability?",
    "results/smoke/figures/head_map/nope/wd0.png": "architecture 'nope'",
    "figurez": "Did you mean figures?",
    "results/other/figures/layer_stability.png": "is not an output of study 'smoke'",
}


@pytest.mark.parametrize("target", UNKNOWN)
def test_an_unconfigured_target_is_explained_in_one_message(smoke, target):
    output = snakemake(smoke, target, *SMOKE, "--dry-run", ok=False)
    said = output.split("Building DAG of jobs...\n")[1].strip()
    assert said.startswith("Error: ")
    assert UNKNOWN[target] in said
    assert len(said.splitlines()) == 1
    assert "Traceback" not in output
