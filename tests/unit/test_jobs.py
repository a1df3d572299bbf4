"""The graph of jobs and their parameters, on a few rules made by hand."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from test_study import config

from headstability.study.study import Study
from headstability.workflow.graph import Graph, Plan, Uses, WorkflowRule
from headstability.workflow.parameters import Parameters, canonical

ROOT = "results/demo"
TEXT, TABLE = f"{ROOT}/corpus/text.txt", f"{ROOT}/tables/heads.csv"
WEIGHTS = f"{ROOT}/cells/{{architecture}}/{{refit}}/weights.bin"
HEADS = f"{ROOT}/conditions/{{architecture}}/heads.csv"
REFITS = ("seed1", "seed2", "seed3")
ARCHITECTURES = ("small", "large")


def weights_of(wildcards):
    return [WEIGHTS.format(refit=refit, **wildcards) for refit in REFITS]


def sources_of(wildcards):
    return [f"given/{wildcards['refit']}.bin"]


def heads_of(wildcards):
    assert wildcards == {}
    return [HEADS.format(architecture=name) for name in ARCHITECTURES]


def made_of(rule, pattern):
    """The pattern of a cell's file, of the one architecture a rule makes."""
    return pattern.replace("{architecture}", f"{{architecture,{rule}}}")


RULES = [
    WorkflowRule("corpus", [], [TEXT], "corpus/corpus.py", Uses(("corpus",))),
    WorkflowRule(
        "train",
        [("text", TEXT)],
        [made_of("small", WEIGHTS), f"{ROOT}/cells/{{architecture,small}}/{{refit}}/log.csv"],
        "cells/train.py",
        Uses(("shape", "training.batch", "cell_seeds")),
        log=f"{ROOT}/logs/train/{{architecture}}/{{refit}}.log",
        benchmark=f"{ROOT}/benchmarks/train/{{architecture}}/{{refit}}.tsv",
        message="Training {wildcards.architecture}, {wildcards.refit}",
    ),
    WorkflowRule(
        "fetch",
        [("files", sources_of), ("text", TEXT)],
        [made_of("large", WEIGHTS)],
        "cells/fetch.py",
        Uses(("shape",)),
    ),
    WorkflowRule(
        "compare",
        [("weights", weights_of)],
        [HEADS, f"{ROOT}/conditions/{{architecture}}/{{architecture}}.zip"],
        "conditions/compare.py",
        Uses(("refit_names",)),
        temporary=True,
    ),
    WorkflowRule(
        "heads_table",
        [("heads", heads_of)],
        [TABLE],
        "figures/table.py",
        Uses((), {"function": "tables.heads:heads"}),
    ),
    WorkflowRule(
        "export", [("weights", WEIGHTS)], [WEIGHTS + ".export"], "cells/export.py", Uses(())
    ),
    WorkflowRule("lacking", [], [f"{ROOT}/tables/lacking.csv"], "x.py", Uses(()), possible=False),
    WorkflowRule("figures", [], []),
    WorkflowRule("tables", [(None, TABLE)], []),
]
CODE = {rule.name: {rule.script: rule.name} for rule in RULES if rule.script}


@pytest.fixture
def graph():
    return Graph(RULES)


def job(rule, **wildcards):
    return rule, tuple(sorted(wildcards.items()))


def parameters(code=CODE, rules=RULES, **edits):
    return Parameters(Study(config(**edits)), Graph(rules), Path("scripts"), code)


def texts(made):
    """The parameter of every job of the complete study."""
    return {item: made.text(item[0], dict(item[1])) for item in made.graph.jobs("tables")}


# --- the graph ----------------------------------------------------------------------------


def test_the_job_of_a_file_inverts_filling(graph):
    found = graph.jobs("tables")
    assert len(found) == 1 + 3 + 3 + 2 + 1
    for one in found:
        for path in graph.outputs(one):
            assert graph.job_of(path) == one
            assert graph.job_of(f"{path}x") != one
            assert graph.job_of(f"x{path}") is None
    assert graph.job_of(f"{ROOT}/cells/small/seed1/seed2/weights.bin") is None, "no folder more"
    assert graph.job_of("given/seed1.bin") is None


def test_constraints_choose_between_two_makers(graph):
    ours, theirs, none = (
        graph.job_of(WEIGHTS.format(architecture=name, refit="seed1"))
        for name in ("small", "large", "smaller")
    )
    assert ours == job("train", architecture="small", refit="seed1")
    assert theirs == job("fetch", architecture="large", refit="seed1")
    assert none is None
    path = f"{ROOT}/cells/large/seed1/weights.bin"
    assert graph.outputs(theirs) == [path], "the constraint is no part of a path"


def test_a_wildcard_that_stands_twice_has_one_value(graph):
    folder = f"{ROOT}/conditions"
    assert graph.job_of(f"{folder}/small/small.zip") == job("compare", architecture="small")
    assert graph.job_of(f"{folder}/small/large.zip") is None


def test_inputs_are_patterns_or_functions(graph):
    assert graph.inputs(job("corpus")) == []
    train = job("train", architecture="small", refit="seed2")
    assert graph.named_inputs(train) == [("text", TEXT)]
    fetch = job("fetch", architecture="large", refit="seed2")
    assert graph.named_inputs(fetch) == [("files", ["given/seed2.bin"]), ("text", TEXT)]
    assert graph.inputs(fetch) == ["given/seed2.bin", TEXT]
    compare = job("compare", architecture="large")
    assert graph.inputs(compare) == [f"{ROOT}/cells/large/{r}/weights.bin" for r in REFITS]
    assert graph.above(compare) == [job("fetch", architecture="large", refit=r) for r in REFITS]


def test_jobs_of_targets_stand_in_the_order_of_the_rules(graph):
    rules = [rule for rule, _ in graph.jobs("tables")]
    assert rules == sorted(rules, key=list(graph.rules).index)
    assert set(rules) == {"corpus", "train", "fetch", "compare", "heads_table"}
    assert graph.jobs("figures") == []
    assert graph.jobs("corpus") == graph.jobs(TEXT) == [job("corpus")]
    of_a_file = graph.jobs(HEADS.format(architecture="large"), "not/there.csv")
    assert {rule for rule, _ in of_a_file} == {"corpus", "fetch", "compare"}
    assert graph.jobs("tables", TABLE) == graph.jobs("tables"), "none stands twice"


def test_what_can_be_asked_for_is_every_file_of_one_maker(graph):
    values = {"architecture": ["small", "large"], "refit": ["seed1", "seed2"]}
    found = list(graph.on_request(values))
    assert len(found) == len(set(found))
    assert {path for path in found if path.endswith("/weights.bin")} == {
        WEIGHTS.format(architecture=a, refit=r) for a in ARCHITECTURES for r in ("seed1", "seed2")
    }
    assert f"{ROOT}/cells/large/seed1/log.csv" not in found, "imports leave no log"
    assert f"{ROOT}/tables/lacking.csv" not in found
    assert f"{ROOT}/cells/large/seed2/weights.bin.export" in found


# --- parameters ---------------------------------------------------------------------------


def test_a_parameter_holds_what_a_job_uses():
    made = parameters().of("train", {"architecture": "small", "refit": "seed2"})
    assert made["code"] == CODE["train"]
    assert (made["script"], made["call"]) == ("cells/train.py", {})
    assert made["spec"] == {
        "shape": {**config()["architectures"]["small"], "mlp": True},
        "training.batch": 8,
        "cell_seeds": {"init_seed": 2, "data_seed": 2},
    }
    assert parameters().of("heads_table", {})["call"] == {"function": "tables.heads:heads"}


def test_the_text_of_a_parameter_does_not_depend_on_order():
    one = {"spec": {"b": 1, "a": {"y": 2, "x": [1, 2]}}, "code": {"m": "1", "k": "2"}}
    two = {"code": {"k": "2", "m": "1"}, "spec": {"a": {"x": [1, 2], "y": 2}, "b": 1}}
    assert canonical(one) == canonical(two)
    two["spec"]["a"]["x"] = [2, 1]
    assert canonical(one) != canonical(two)


def changed(before, after):
    """The jobs whose parameters differ."""
    before, after = texts(before), texts(after)
    assert before.keys() == after.keys()
    return {item for item in before if before[item] != after[item]}


BELOW = {
    "corpus": {"corpus", "train", "fetch", "compare", "heads_table"},
    "train": {"train", "compare", "heads_table"},
    "fetch": {"fetch", "compare", "heads_table"},
    "compare": {"compare", "heads_table"},
    "heads_table": {"heads_table"},
    "export": set(),
}


@pytest.mark.parametrize("edited", BELOW)
def test_code_upstream_shows_in_all_that_lies_below_and_nowhere_else(edited):
    """So that what a failed job should have changed is not taken for current."""
    found = changed(parameters(), parameters(CODE | {edited: {"module": "edited"}}))
    assert {rule for rule, _ in found} == BELOW[edited]


def test_what_one_architecture_is_says_nothing_of_another():
    found = changed(parameters(), parameters(architectures__large__layers=3))
    assert all(dict(wildcards).get("architecture") != "small" for _, wildcards in found)
    assert {rule for rule, _ in found} == {"fetch", "compare", "heads_table"}


def test_another_function_of_a_generic_script_is_another_job():
    rules = [rule for rule in RULES if rule.name != "heads_table"]
    other = Uses((), {"function": "tables.heads:other"})
    inputs = [("heads", heads_of)]
    rules.append(WorkflowRule("heads_table", inputs, [TABLE], "figures/table.py", other))
    assert changed(parameters(), parameters(rules=rules)) == {job("heads_table")}


def test_a_job_on_another_node_takes_the_code_of_its_run():
    here = parameters()
    former = {rule: dict.fromkeys(code, "0" * 16) for rule, code in CODE.items()}
    there = parameters(former)
    cell = {"architecture": "small", "refit": "seed1"}
    assert there.of("train", cell)["code"] == former["train"] != here.of("train", cell)["code"]
    assert there.of("train", cell)["upstream"] != here.of("train", cell)["upstream"]
    assert there.of("train", cell)["spec"] == here.of("train", cell)["spec"]


# --- the plan -----------------------------------------------------------------------------


def test_a_plan_says_all_of_a_job():
    plan = parameters().plan()
    (train,) = [j for j in plan.jobs if j.outputs[0] == f"{ROOT}/cells/small/seed2/weights.bin"]
    assert (train.rule, train.wildcards) == ("train", {"architecture": "small", "refit": "seed2"})
    assert train.log == f"{ROOT}/logs/train/small/seed2.log"
    assert train.benchmark == f"{ROOT}/benchmarks/train/small/seed2.tsv"
    assert train.message == "Training small, seed2"
    assert train.makes_cell is False, "weights are told by their folder"
    assert [plan.jobs[number].rule for number in train.above] == ["corpus"]
    assert plan.parameter(train) == parameters().of("train", train.wildcards)


def test_a_plan_holds_the_complete_study_and_what_can_be_asked_for():
    plan = parameters().plan()
    made = {path for planned in plan.jobs for path in planned.outputs}
    assert plan.others == []
    assert not made & set(plan.on_request)
    assert all(path.endswith(".export") for path in plan.on_request)
    assert set(plan.expected) == made - {
        path for planned in plan.jobs if planned.rule == "compare" for path in planned.outputs
    }, "temporary files are not expected"


def test_jobs_that_were_asked_for_come_after_those_of_the_study():
    made = parameters()
    made.text("export", {"architecture": "small", "refit": "seed1"})
    plan = made.plan()
    (export,) = plan.others
    assert (export.rule, plan.jobs[export.above[0]].rule) == ("export", "train")


def test_a_plan_survives_being_recorded():
    plan = parameters().plan()
    assert Plan.of_json(json.loads(json.dumps(asdict(plan)))) == plan
