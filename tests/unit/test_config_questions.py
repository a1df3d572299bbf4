"""Keys of the questions, which of them a study can be asked, and the files that takes."""

import re

import pytest
from plans import plan_of_config
from test_config import edited, problems
from test_study import config, matches

from headstability.errors import UserError
from headstability.registry.rows import FIGURES
from headstability.study.study import Study

CROSSED = {"init_seeds": [1, 2], "data_seeds": [5, 7]}
WRONG = [
    ("time_course: {steps: [0]}", "time_course.steps", ["give at least 2"]),
    ("time_course: {steps: [0, 0]}", "time_course.steps", ["0 is listed twice"]),
    ("time_course: {steps: [0, 7]}", "time_course.steps[2]", ["step 7", "checkpoint_steps"]),
    ("time_course: {steps: [-1, 0]}", "time_course.steps[1]", ["at least 0"]),
    ("time_course: {step: [0, 20]}", "time_course.step", ["did you mean 'steps'?"]),
    ("refits_needed: {width: 0}", "refits_needed.width", ["greater than 0"]),
    ("refits_needed: {draws: 0}", "refits_needed.draws", ["at least 1"]),
    ("refits_needed: {seed: -1}", "refits_needed.seed", ["at least 0"]),
    ("roles: {tokens: 32}", "roles.tokens", ["32 tokens twice", "= 64", "at most 31, or null"]),
    ("roles: {tokens: 0}", "roles.tokens", ["at least 1"]),
    ("roles: {least: 0}", "roles.least", ["greater than 0"]),
    ("roles: {least: 1.1}", "roles.least", ["at most 1"]),
    ("figures: {include: [origin]}", "figures.include", ["origin needs", "init_seeds"]),
    ("figures: {include: [time_course]}", "figures.include", ["time_course.steps"]),
    ("{weight_decays: [0], figures: {include: [dose]}}", "figures.include", ["weight_decays"]),
]


@pytest.mark.parametrize(("edit", "key", "words"), WRONG, ids=[item[0][:60] for item in WRONG])
def test_wrong_configs_are_named(edit, key, words):
    found = problems(edited(edit))
    assert key in found
    assert [word for word in words if word not in found[key]] == [], found[key]


@pytest.mark.parametrize(
    "edit",
    ["time_course: {steps: [0, 40]}", "roles: {tokens: 31, least: 1}", "roles: {tokens: 25}"],
)
def test_what_is_allowed(edit):
    Study(edited(edit))


def drawn(**edits):
    return set(FIGURES) - set(Study(config(**edits)).figures)


def test_figures_that_do_not_apply_are_left_out():
    assert drawn() == {"origin", "time_course"}
    assert drawn(time_course__steps=[0, 20]) == {"origin"}
    assert drawn(refits=CROSSED) == {"time_course", "refits_needed"}
    assert drawn(weight_decays=[0]) == {"origin", "time_course", "dose"}
    one = {"init_seeds": [1], "data_seeds": [5, 7]}
    assert drawn(refits=one) == {"origin", "time_course", "refits_needed"}


@pytest.mark.parametrize(
    ("figure", "key"), [("origin", "refits"), ("time_course", "time_course.steps")]
)
def test_asking_for_them_says_which_key_to_set(figure, key):
    study = Study(config())
    with pytest.raises(UserError, match=rf"^study 'demo': {figure} needs .*{re.escape(key)}"):
        study.require_figure(figure)
    study.require_figure("dose")
    output = study.figure_paths(figure)[0]
    assert not matches(study.unknown_output_pattern, output), "it is an output all the same"


def test_the_time_course_asks_for_its_steps_and_nothing_else_does():
    def steps_of(plan, rule):
        paths = [path for job in plan.jobs if job.rule == rule for path in job.outputs]
        return {int(found) for path in paths for found in re.findall(r"/step(\d+)[/.]", path)}

    raw = config(nulls__untrained=False, time_course__steps=[0, 20])
    assert Study(raw).time_steps == ["0", "20", "40"]
    plain, plan = plan_of_config(config(nulls__untrained=False)), plan_of_config(raw)
    for rule in ("cache", "similarity", "stability", "ablation"):
        assert steps_of(plan, rule) == {0, 20, 40}, rule
        assert steps_of(plain, rule) == {40}, rule
    for rule in ("residual_similarity", "prefixes", "role_scores", "role_stability", "evaluate"):
        assert steps_of(plan, rule) == {40}, rule
    # The untrained reference is measured at the first weight decay, whatever the steps.
    both = plan_of_config(config(time_course__steps=[0, 20]))
    assert steps_of(both, "similarity") == {0, 20, 40}
    assert len(set(both.expected)) == len(both.expected)
    raw = config(time_course__steps=[0, 20], figures__include=["pairwise"])
    included = plan_of_config(raw)
    assert steps_of(included, "stability") == {40}
    assert set(Study(raw).figure_paths("time_course")) < set(included.on_request)


def test_roles_are_told_the_refits_in_the_order_of_their_files():
    """A mapping by refit is recorded in the order of names: seed10 before seed2."""
    plan = plan_of_config(config(refits=12, figures__include=["roles"]))
    job = next(job for job in plan.jobs if job.rule == "role_stability")
    spec = job.parameter["spec"]
    scores = [path for n in job.above for path in plan.jobs[n].outputs if "/scores/" in path]
    assert [path.split("/")[-1] for path in scores] == [f"{n}.csv" for n in spec["refit_names"]]
    assert list(spec["seeds"]) != spec["refit_names"]


def test_files_of_questions_that_do_not_apply_are_not_possible():
    def possible(**edits):
        plan = plan_of_config(config(**edits))
        paths = [*plan.on_request, *plan.expected]
        tables = {path.split("/")[3].split(".")[0] for path in paths if "/tables/" in path}
        figures = {path.split("/")[3].split(".")[0] for path in paths if "/figures/" in path}
        assert figures <= tables
        return tables

    assert not possible() & {"origin", "time_course"}
    assert "origin" in possible(refits=CROSSED)
    assert "refits_needed" in possible()
    assert "refits_needed" not in possible(refits=CROSSED)


def test_an_early_step_is_upstream_of_the_time_course():
    """A change that touches all steps shows in it, whatever step it is asked at."""
    plan = plan_of_config(config(time_course__steps=[0, 20]))

    def steps_above(table, rule):
        (job,) = (job for job in plan.jobs if job.rule == table)
        above = [plan.jobs[number] for number in job.above]
        return {one.wildcards["step"] for one in above if one.rule == rule}

    for rule in ("stability", "ablation"):
        assert steps_above("time_course_table", rule) == {"0", "20", "40"}
    assert steps_above("dose_table", "stability") == {"40"}
