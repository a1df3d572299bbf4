"""Files that are gone are rebuilt where somebody needs them: dry runs in the smoke study."""

import pytest
from driver import SMOKE, jobs
from plan import edited, expect, expect_only, removed

STUDY = "studies/smoke.yaml"
STABILITY = "Stability of two, wd 0, step 30$"
GONE = {
    "figures/layer_stability.png": ("Figure: layer stability",),
    "figures/head_map/two/wd0.pdf": ("Figure: head map of one anchor of two, wd 0$",),
    "tables/heads.csv": ("Table of all heads",),
    "conditions/two/wd0/step30/ablation/passages/seed2.csv": ("Ablating two, wd 0, seed2",),
    "conditions/two/wd0/step30/stability/passages/pairs.csv": (STABILITY,),
    "conditions/two/wd0/step30/stability/passages/commonness.csv": (STABILITY,),
    "conditions/two/wd0/refits.csv": ("Checking that the refits of two, wd 0 differ",),
    "tables/pairwise/one/wd0.1.csv": (r"Table of pairs of refits of one, wd 0\.1",),
}


@pytest.mark.parametrize("name", GONE)
def test_a_deleted_figure_table_or_measurement(smoke, name):
    with removed(smoke / "results/smoke" / name):
        expect(smoke, *GONE[name])


# Models, caches and text are made again only when somebody needs them.
GONE_WITHIN = {
    "cells/two/wd0/seed2/caches/step30/passages.zarr.zip": (
        "Caching two, wd 0, seed2, step 30, on passages"
    ),
    "conditions/two/wd0/step30/stability/passages/similarity.zarr.zip": (
        "Comparing the heads of two, wd 0, step 30"
    ),
    "cells/one/wd0/seed1/checkpoints/step0.safetensors": "Training one, wd 0, seed1",
    "cells/one/wd0/seed1/training.csv": "Training one, wd 0, seed1",
    "corpus/prompts/passages.json": "Making the prompt set passages",
    "corpus/train.bin": "Tokenising the corpus",
}


@pytest.mark.parametrize("name", GONE_WITHIN)
def test_a_deleted_file_that_others_were_made_of(smoke, name):
    with removed(smoke / "results/smoke" / name):
        expect(smoke)
        expect_only(smoke, [GONE_WITHIN[name]], f"results/smoke/{name}")


def test_deleted_weights_do_not_hold_up_new_refits(smoke):
    weights = (smoke / "results/smoke/cells").glob("**/*.safetensors")
    with removed(*weights), edited(smoke / STUDY, "refits: 2", "refits: 3"):
        expect(smoke, "Training .*, seed3")


def test_deleted_logs_and_benchmarks(smoke):
    """Nobody reads what a job said or how long it took."""
    with removed(smoke / "results/smoke/logs", smoke / "results/smoke/benchmarks"):
        expect(smoke)


def test_a_deleted_file_concerns_only_those_who_ask_for_it(smoke):
    with removed(smoke / "results/smoke/tables/heads.csv"):
        assert jobs(smoke, "head_map", *SMOKE) == []
