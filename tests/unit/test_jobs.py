"""The registry of rules: specifications, outputs and the files of a complete study."""

import json
import re
from pathlib import Path

import pytest
from test_study import config, outputs, with_files

from headstability import jobs, kinds, specs
from headstability.codehash import code_hashes
from headstability.jobs import (
    Parameters,
    canonical,
    expected_files,
    job_parameter,
    measurement_paths,
    wildcards_of,
)
from headstability.kinds import KINDS
from headstability.paths import fill
from headstability.study import Study

SCRIPTS = Path(jobs.__file__).resolve().parents[1]
CODE = code_hashes(SCRIPTS / "train.py")
STUDIES = {
    "as configured": {},
    "crossed refits": {"refits": {"init_seeds": [2, 1], "data_seeds": [7, 5]}},
    "ablation on text": {"ablation__text": "held_out"},
    "two prompt sets": {"ablation__text": "mine"},
    "small weight decay": {"weight_decays": [1e-05, 0]},
}


@pytest.fixture(params=STUDIES)
def study(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_files(tmp_path)
    return Study(config(**STUDIES[request.param]))


def wildcards_in(pattern):
    return set(re.findall(r"\{(\w+)\}", pattern))


def jobs_of(study):
    """Every job behind the files of a study: rule, wildcards and one of its files."""
    return [(rule, wildcards_of(study, rule, path), path) for path, rule in expected_files(study)]


def test_no_file_is_expected_twice_or_under_two_rules(study):
    paths = [path for path, _ in expected_files(study)]
    assert len(set(paths)) == len(paths) > 100
    assert not any("{" in path for path in paths)


def test_expected_files_are_outputs_of_the_study(study):
    """Those that tables and figures rest on, of all that can be asked for."""
    expected = {path for path, _ in expected_files(study)}
    possible = set(outputs(study)) | set(
        study.every(study.paths.ablation, step=study.steps, text="held_out")
    )
    assert expected <= possible
    assert set(study.figure_paths()) < expected
    assert set(study.every(study.paths.provenance)) < expected


def test_every_cell_has_its_files():
    study = Study(config())
    found = [path for path, _ in expected_files(study) if "/cells/large/wd0/seed2/" in path]
    assert sorted(path.split("/seed2/")[1] for path in found) == [
        "caches/step0/passages.zarr.zip",  # untrained, of the smallest weight decay
        "caches/step40/passages.zarr.zip",
        "checkpoints/step0.safetensors",
        "checkpoints/step20.safetensors",
        "checkpoints/step40.safetensors",
        "provenance.json",
        "training.csv",
    ]


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
    found = [path for path, rule in expected_files(Study(config(**edits))) if rule == "prompts"]
    assert [Path(path).stem for path in found] == sets


def test_wildcards_of_inverts_filling(study):
    for rule, wildcards, path in jobs_of(study):
        patterns = KINDS[rule].outputs(study)
        assert path in [fill(p, **wildcards) for p in patterns if wildcards_in(p) <= set(wildcards)]
        known = {key: value for key, value in wildcards.items() if key != "step" or rule != "train"}
        study.require(**known)


def test_wildcards_of_knows_every_pattern_of_every_rule(study):
    values = {
        "architecture": "a-b_c",
        "weight_decay": "0.00001",
        "refit": "init1-data2",
        "step": "7",
        "prompts": "p.q",
        "text": "t",
    }
    for rule, kind in KINDS.items():
        for pattern in kind.outputs(study):
            used = {name: values[name] for name in wildcards_in(pattern)}
            assert wildcards_of(study, rule, fill(pattern, **values)) == used
            assert wildcards_of(study, rule, fill(pattern, **values) + "x") is None
            assert wildcards_of(study, rule, "x" + fill(pattern, **values)) is None


def test_a_wildcard_that_stands_twice_has_one_value(monkeypatch):
    kind = kinds.JobKind(specs.cache, lambda study: ["{refit}/x.{refit}"])
    monkeypatch.setitem(KINDS, "cache", kind)
    study = Study(config())
    assert wildcards_of(study, "cache", "a/x.a") == {"refit": "a"}
    assert wildcards_of(study, "cache", "a/x.b") is None


def test_no_file_is_of_two_rules(study):
    for path, rule in expected_files(study):
        makers = [other for other in KINDS if wildcards_of(study, other, path) is not None]
        assert makers == [rule]


def test_every_rule_has_its_script_and_every_script_of_a_rule_its_entry():
    ending = "\nrun(snakemake, main)\n"
    scripts = {p.stem for p in SCRIPTS.glob("*.py") if p.read_text().endswith(ending)}
    assert scripts == {*KINDS, "verify"}


def test_every_rule_has_its_parameter_and_its_script():
    """Each rule with a script passes its own name to `spec`, and runs the script of that name."""
    found = {}
    for path in (SCRIPTS.parent / "rules").glob("*.smk"):
        for name, body in re.findall(r"^rule (\w+):\n((?:[ \t].*\n|\n)*)", path.read_text(), re.M):
            if "script:" in body:
                found[name] = body
    assert set(found) == {*KINDS, "verify"}
    for name, body in found.items():
        assert re.search(rf'params:\s+spec=spec\("{name}"\),\n', body), name
        assert re.search(rf'script:\s+"\.\./scripts/{name}\.py"\n', body), name


def test_parameters_survive_being_recorded(study):
    for rule, wildcards, _ in jobs_of(study):
        parameter = job_parameter(study, rule, wildcards, CODE)
        assert json.loads(canonical(parameter)) == parameter
        assert json.loads(json.dumps(parameter)) == parameter
        assert parameter["code"] == CODE


def test_parameters_hold_the_specification_of_their_wildcards():
    study = Study(config())
    wildcards = {"architecture": "large", "weight_decay": "0", "refit": "seed2", "step": "40"}
    parameter = job_parameter(study, "train", wildcards, CODE)
    expected = specs.train(study, "large", "0", "seed2")
    assert parameter["spec"] == json.loads(json.dumps(expected))
    assert parameter["spec"] != json.loads(json.dumps(specs.train(study, "large", "0", "seed1")))
    assert parameter["spec"]["training"]["betas"] == [0.9, 0.999]


def test_the_job_that_looks_at_everything_expects_everything(study):
    parameter = job_parameter(study, "verify", {}, CODE)
    assert parameter["spec"]["root"] == "results/demo"
    assert parameter["spec"]["expected"] == [path for path, _ in expected_files(study)]


def test_the_text_of_a_parameter_does_not_depend_on_order():
    one = {"spec": {"b": 1, "a": {"y": 2, "x": [1, 2]}}, "code": {"m": "1", "k": "2"}}
    two = {"code": {"k": "2", "m": "1"}, "spec": {"a": {"x": [1, 2], "y": 2}, "b": 1}}
    assert canonical(one) == canonical(two)
    two["spec"]["a"]["x"] = [2, 1]
    assert canonical(one) != canonical(two)


def test_what_can_be_asked_for_includes_what_is_expected():
    study = Study(config())
    expected = {path for path, _ in expected_files(study)}
    possible = {path for path, _ in expected_files(study, on_request=True)}
    assert expected < possible
    kept = set(map(str, study.checkpoint_steps))
    for path in possible - expected:
        step = re.search(r"/step(\d+)/", path)
        assert step is None or step[1] in kept
    assert any("/caches/step0/" in path for path in possible - expected)


# On request, or of cells this study has none of.
EXPORTS = {"write_transformerlens", "write_huggingface", "download_weights", "import_weights"}
EXPORTS |= {"published"}
LAYERS = {"cross_layer", "commonness", "weight_decay_contrast", "extremes"}
# Questions that can be asked of the study of `config`, and the others.
QUESTIONS = {f"{name}{end}" for name in ("dose", "refits_needed") for end in ("", "_table")}
QUESTIONS |= {"role_stability", "roles_table", "roles"}
UNDRAWN = {f"{name}{end}" for name in ("origin", "time_course") for end in ("", "_table")}
ABSENT = UNDRAWN | EXPORTS
BELOW = {
    "tokens": set(KINDS) - ABSENT - {"corpus", "tokenizer", "tokens"},
    "train": set(KINDS) - ABSENT - {"corpus", "tokenizer", "tokens", "prompts", "train"},
    "refits": {"stability", "heads_table", "layer_stability_table", "stability_ablation_table"}
    | {"head_map_table", "pairwise_table", "layer_stability", "stability_ablation"}
    | {"draw_head_map", "draw_pairwise", "similarity", "prefixes", "prompt_length_table"}
    | {"prompt_length", "head_atlas_table", "draw_head_atlas"}
    | LAYERS
    | {f"{name}_table" for name in LAYERS}
    | QUESTIONS
    | {"residual_similarity", "residual_table", "residual", "norms", "attention_norms_table"}
    | {"attention_norms", "weight_norms_table", "weight_norms", "meta_sne_table", "draw_meta_sne"}
    | {"adjust", "adjusted_table", "adjusted", "claims_table", "claims"},
    "residual_similarity": {"residual_table", "residual", "claims_table", "claims"},
    "role_scores": {"role_stability", "roles_table", "roles"},
    "evaluate": {"perplexity_table", "perplexity", "claims_table", "claims"},
    "stability": QUESTIONS
    | {"heads_table", "layer_stability_table", "stability_ablation_table", "head_map_table"}
    | {"pairwise_table", "layer_stability", "stability_ablation", "draw_head_map"}
    | {"draw_pairwise", "head_atlas_table", "draw_head_atlas", "residual_table", "residual"}
    | {"weight_norms_table", "weight_norms"}
    | {f"{name}{end}" for name in LAYERS for end in ("", "_table")}
    | {"adjusted_table", "adjusted", "claims_table", "claims"},
    "norms": {"attention_norms_table", "attention_norms", "weight_norms_table", "weight_norms"},
    "meta_sne_table": {"draw_meta_sne"},
    "ablation": {"heads_table", "stability_ablation_table", "stability_ablation"}
    | {"layer_stability", "head_map_table", "draw_head_map", "claims_table", "claims"},
    "pairwise_table": {"draw_pairwise"},
    "layer_stability": set(),
    "adjust": {"adjusted_table", "adjusted", "claims_table", "claims", "dose_table", "dose"},
    "layer_stability_table": {"layer_stability"}
    | {f"{name}{end}" for name in LAYERS - {"commonness"} for end in ("", "_table")}
    | {"residual_table", "residual", "weight_norms_table", "weight_norms"},
}


@pytest.mark.parametrize("edited", BELOW)
def test_code_upstream_shows_in_all_that_lies_below_and_nowhere_else(edited):
    """So that what a failed job should have changed is not taken for current."""
    study = Study(config())

    def all_parameters(**code):
        parameters = Parameters(study, SCRIPTS)
        parameters.code |= code
        return {path: (rule, parameters.of(rule, w)) for rule, w, path in jobs_of(study)}

    before = all_parameters()
    after = all_parameters(**{edited: {"module": "edited"}})
    changed = {before[path][0] for path in before if before[path] != after[path]}
    assert changed == BELOW[edited] | {edited}


def test_one_architecture_says_nothing_of_another():
    small = {"layers": 1, "heads": 2, "d_model": 8}
    changed = {}
    for layers in (2, 3):
        grid = {"small": small, "large": {**small, "layers": layers}}
        study = Study(config(architectures=grid))
        parameters = Parameters(study, SCRIPTS)
        for rule, wildcards, path in jobs_of(study):
            changed.setdefault(path, []).append(parameters.of(rule, wildcards))
    differing = {path for path, both in changed.items() if both[0] != both[1]}
    assert any("/large/" in path for path in differing)
    assert not any("/small/" in path for path in differing)
    assert any(path.endswith("tables/layer_stability.csv") for path in differing)


def test_a_refit_more_says_nothing_of_the_others():
    """Of a cell, nothing is made again when the condition grows: its weights may be gone."""
    changed = {}
    for refits in ([1, 2, 3], [1, 2, 3, 4]):
        study = Study(config(refits=refits))
        parameters = Parameters(study, SCRIPTS)
        for rule, wildcards, path in jobs_of(study):
            if "refit" in wildcards:
                changed.setdefault((rule, path), []).append(parameters.of(rule, wildcards))
    rules = {rule for rule, _ in changed}
    assert rules == {"train", "cache", "ablation", "evaluate", "role_scores"}
    assert all(both[0] == both[-1] for both in changed.values())
    below_weights = {rule for rule, kind in KINDS.items() if "train" in kind.upstream}
    # What tells refits apart reads of training what is kept with the tables; exports are asked for.
    exports = {"write_transformerlens", "write_huggingface"}
    assert below_weights == rules - {"train"} | {"refits"} | exports


def test_only_what_included_figures_rest_on_is_expected():
    study = Study(config(figures={"include": ["pairwise"]}))
    found = {rule for _, rule in expected_files(study)}
    assert {"draw_pairwise", "pairwise_table", "stability", "heads_table", "train"} < found
    assert not found & {"layer_stability", "layer_stability_table", "draw_head_map"}
    possible = {rule for _, rule in expected_files(study, on_request=True)}
    assert possible == set(KINDS) - UNDRAWN - {"download_weights", "import_weights"}
    assert all("/pairwise/" in path for path in study.figure_paths())
    tables = {path.split("/tables/")[1].split("/")[0] for path in study.table_paths()}
    assert tables == {"pairwise", "heads.csv"}
    assert study.figure_paths("layer_stability") != []


def test_measurements_are_what_tables_rest_on_without_weights_and_caches(study):
    paths = measurement_paths(study)
    rules = {rule for path, rule in expected_files(study) if path in paths}
    assert rules == {rule for rule, kind in KINDS.items() if kind.measures}
    assert not rules & {"train", "cache"}


def test_a_job_on_another_node_takes_the_code_of_its_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = Study(config())
    here = Parameters(study, SCRIPTS)
    cell = study.cells()[0]
    former = {rule: dict.fromkeys(code, "0" * 16) for rule, code in here.code.items()}
    there = Parameters(study, SCRIPTS, former)
    assert there.of("train", cell)["code"] == former["train"] != here.of("train", cell)["code"]
    assert there.of("train", cell)["upstream"] != here.of("train", cell)["upstream"]
    assert there.of("train", cell)["spec"] == here.of("train", cell)["spec"]
