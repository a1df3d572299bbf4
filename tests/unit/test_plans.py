"""The jobs of whole studies, as Snakemake has them once it has read the rules."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from plans import plan_of_config
from test_study import config

from headstability.study.study import Study
from headstability.workflow.graph import Plan
from headstability.workflow.parameters import canonical

STUDIES = {
    "as configured": {},
    "crossed refits": {"refits": {"init_seeds": [2, 1], "data_seeds": [7, 5]}},
    "ablation on text": {"ablation__text": "held_out"},
    "two prompt sets": {"ablation__text": "mine"},
    "small weight decay": {"weight_decays": [1e-05, 0]},
}


@pytest.fixture(params=STUDIES)
def raw(request):
    return config(**STUDIES[request.param])


def rules_of(jobs):
    return {job.rule for job in jobs}


def paths_of(plan):
    return [path for job in plan.jobs for path in job.outputs]


def by_rule_and_file(plan):
    """The parameter of every job."""
    return {(job.rule, job.outputs[0]): plan.parameter(job) for job in plan.jobs}


# --- files --------------------------------------------------------------------------------


def test_no_file_is_expected_twice_or_of_two_rules(raw):
    plan = plan_of_config(raw)
    paths = paths_of(plan)
    assert len(set(paths)) == len(paths) > 100
    assert not any("{" in path for path in [*paths, *plan.on_request])
    assert len(set(plan.on_request)) == len(plan.on_request)
    assert not set(paths) & set(plan.on_request)


def test_figures_tables_and_cells_are_expected(raw):
    study = Study(raw)
    expected = set(plan_of_config(raw).expected)
    assert set(study.figure_paths()) < expected
    assert set(study.table_paths()) < expected
    assert set(study.every(study.paths.provenance)) < expected


def test_wildcards_of_jobs_are_configured(raw):
    plan, study = plan_of_config(raw), Study(raw)
    for job in plan.jobs:
        study.require(**job.wildcards)
        assert all(value in job.log for value in job.wildcards.values()), job
        assert "{" not in job.message


def test_jobs_read_from_jobs(raw):
    plan = plan_of_config(raw)
    without = {job.rule for job in plan.jobs if not job.above}
    assert without <= {"corpus"}
    everything = set(range(len(plan.jobs)))
    assert {number for job in plan.jobs for number in job.above} <= everything


def test_every_cell_has_its_files():
    found = [path for path in paths_of(plan_of_config(config())) if "/large/wd0/seed2/" in path]
    assert sorted(path.split("/seed2/")[1] for path in found) == [
        "caches/step0/passages.zarr.zip",  # untrained, of the smallest weight decay
        "caches/step40/passages.zarr.zip",
        "checkpoints/step0.safetensors",
        "checkpoints/step20.safetensors",
        "checkpoints/step40.safetensors",
        "provenance.json",
        "training.csv",
    ]


def test_temporary_caches_are_jobs_but_no_files_of_the_study():
    kept, temporary = plan_of_config(config()), plan_of_config(config(caches={"keep": False}))
    assert [job.outputs for job in kept.jobs] == [job.outputs for job in temporary.jobs]
    gone = set(kept.expected) - set(temporary.expected)
    assert gone == {path for path in kept.expected if "/caches/" in path}


@pytest.mark.parametrize(
    ("edits", "sets"),
    [
        ({}, ["passages"]),
        ({"ablation__text": "held_out"}, ["passages"]),
        ({"ablation__text": "mine"}, ["mine", "passages"]),
        ({"stability__prompts": "mine", "ablation__text": "mine"}, ["mine"]),
    ],
)
def test_only_prompt_sets_in_use_are_expected(edits, sets):
    found = [job for job in plan_of_config(config(**edits)).jobs if job.rule == "prompts"]
    assert sorted(Path(job.outputs[0]).stem for job in found) == sets


def test_only_what_included_figures_rest_on_is_expected():
    plan = plan_of_config(config(figures={"include": ["pairwise"]}))
    found = rules_of(plan.jobs)
    assert {"draw_pairwise", "pairwise_table", "stability", "heads_table", "train"} < found
    assert not found & {"layer_stability", "layer_stability_table", "draw_head_map"}
    others = ("/figures/layer_stability.pdf", "/tables/layer_stability.csv")
    assert all(any(path.endswith(end) for path in plan.on_request) for end in others)
    results = [job.outputs[0].split("/")[2:4] for job in plan.jobs]
    assert {name for place, name in results if place == "figures"} == {"pairwise"}
    assert {name for place, name in results if place == "tables"} == {"pairwise", "heads.csv"}


def test_what_can_be_asked_for_is_of_steps_whose_weights_are_kept():
    plan, study = plan_of_config(config()), Study(config())
    kept = set(map(str, study.checkpoint_steps))
    steps = [re.search(r"/step(\d+)[/.]", path) for path in plan.on_request]
    assert {step[1] for step in steps if step} == kept
    assert any("/caches/step0/" in path for path in plan.on_request)


def test_what_a_study_lacks_cannot_be_asked_for():
    plan = plan_of_config(config())
    assert not any("/origin." in path for path in [*plan.expected, *plan.on_request])
    assert not any("/source/" in path or "download" in path for path in plan.on_request)


# --- parameters ---------------------------------------------------------------------------


def test_parameters_survive_being_recorded(raw):
    plan = plan_of_config(raw)
    for job in plan.jobs:
        parameter = plan.parameter(job)
        assert json.loads(canonical(parameter)) == parameter
        assert parameter["code"] == plan.code[job.rule] != {}
    assert Plan.of_json(json.loads(json.dumps(asdict(plan)))) == plan


def test_one_architecture_says_nothing_of_another():
    small = {"layers": 1, "heads": 2, "d_model": 8}
    before, after = (
        by_rule_and_file(
            plan_of_config(config(architectures={"small": small, "large": small | {"layers": n}}))
        )
        for n in (2, 3)
    )
    assert before.keys() == after.keys()
    differing = {path for rule, path in before if before[rule, path] != after[rule, path]}
    assert any("/large/" in path for path in differing)
    assert not any("/small/" in path for path in differing)
    assert any(path.endswith("tables/layer_stability.csv") for path in differing)


def test_a_refit_more_says_nothing_of_the_others():
    """Of a cell, nothing is made again when the condition grows: its weights may be gone."""
    few, more = (plan_of_config(config(refits=refits)) for refits in ([1, 2, 3], [1, 2, 3, 4]))
    before, after = by_rule_and_file(few), by_rule_and_file(more)
    of_cells = [(job.rule, job.outputs[0]) for job in few.jobs if "refit" in job.wildcards]
    assert {"train", "cache", "ablation", "evaluate", "role_scores"} <= {r for r, _ in of_cells}
    assert [key for key in of_cells if before[key] != after[key]] == []
    # Nothing reads weights beside those: a table would have them trained again.
    reads_weights = {
        job.rule for job in few.jobs if any(few.jobs[number].makes_cell for number in job.above)
    }
    assert reads_weights == {rule for rule, _ in of_cells} - {"train"} | {"refits"}
