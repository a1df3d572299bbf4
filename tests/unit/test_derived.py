"""What jobs use of the config: which edits of a key reach which job."""

from functools import cache

import pytest
from plans import plan_of_config
from test_study import config, with_files

from headstability.study import derived
from headstability.study.derived import key_in_words, used, value_of
from headstability.study.study import Study
from headstability.workflow.parameters import canonical

ON_TEXT = {"ablation__text": "held_out", "stability__prompts": "mine"}
CELL = {"architecture": "small", "weight_decay": "0.1", "refit": "seed1"}
# Jobs whose use of the config is looked at, the last two of a study with the edits ON_TEXT.
WATCHED = {
    name: ({}, name)
    for name in (
        *("corpus", "tokenizer", "tokens", "prompts", "train", "cache", "ablation", "evaluate"),
        *("refits", "prefixes", "residual_similarity", "role_scores", "role_stability"),
        *("heads_table", "head_map_table", "head_atlas_table", "meta_sne_table", "extremes_table"),
        *("draw_head_map", "layer_stability", "commonness", "stability_ablation", "residual"),
    )
}
WATCHED |= {"mine": (ON_TEXT, "prompts"), "ablation on text": (ON_TEXT, "ablation")}


@cache
def watched_jobs():
    """The jobs by what they are for: of the cell CELL, where there are several."""
    found = {}
    for name, (edits, rule) in WATCHED.items():
        for job in plan_of_config(config(**edits)).jobs:
            if job.rule == rule and not set(job.wildcards) & set(CELL) - {
                key for key in CELL if job.wildcards.get(key) == CELL[key]
            }:
                found.setdefault(name, job)
    return found


def all_uses(raw):
    """What every watched job uses of a config, as the text Snakemake compares."""
    study = Study(raw)
    made = {}
    for name, job in watched_jobs().items():
        # A wildcard of the job is the same whatever the config says.
        keys = [key for key in job.parameter["spec"] if key not in job.wildcards.values()]
        made[name] = canonical(used(study, keys, job.wildcards))
    return made


ARCHITECTURES = config()["architectures"]
WIDER = {**ARCHITECTURES["small"], "d_model": 64}
SAVED = {"type": "file", "path": "saved.json"}
# (edits, the jobs they reach)
EFFECTS = [
    ({"corpus__held_out": 0.2}, "corpus"),
    ({"corpus__seed": 1}, "corpus"),
    ({"corpus__documents": "file"}, "corpus"),
    ({"corpus__paths": ["b.txt", "a.txt"]}, "corpus"),
    ({"corpus": {"type": "sotu"}}, "corpus"),
    ({"tokenizer__vocabulary": 301}, "tokenizer"),
    ({"tokenizer": SAVED}, "tokenizer, tokens, prompts, evaluate, head_atlas_table, mine"),
    ({"prompts__passages__count": 7}, "prompts"),
    ({"prompts__passages__tokens": 21}, "prompts"),
    ({"prompts__passages__seed": 1}, "prompts"),
    ({"prompts__mine__path": "b.txt"}, "mine"),
    ({"prompts__third": {"type": "held_out", "tokens": 5}}, ""),
    ({"architectures__small": WIDER}, "train, extremes_table"),
    ({"architectures__small__mlp": False}, "train, extremes_table"),
    ({"architectures__small__mlp": True}, ""),
    ({"architectures__large__layers": 5}, "extremes_table"),
    ({"architectures": dict(reversed(ARCHITECTURES.items()))}, "heads_table, meta_sne_table"),
    ({"architectures__third": WIDER}, "heads_table, meta_sne_table, extremes_table"),
    (
        {"refits": [3, 1, 2, 4]},
        "refits, prefixes, residual_similarity, role_stability, heads_table, head_atlas_table, "
        "meta_sne_table",
    ),
    ({"refits": [1, 2, 3]}, "head_map_table, head_atlas_table"),
    (
        {"weight_decays": [0, 0.1]},
        "heads_table, layer_stability, commonness, stability_ablation, residual",
    ),
    ({"weight_decays": [0.1, 0.0]}, ""),
    (
        {"weight_decays": [0.1, 0, 1]},
        "heads_table, layer_stability, commonness, stability_ablation, residual",
    ),
    ({"training__steps": 41}, "train"),
    ({"training__steps": None, "training__tokens": 40 * 8 * 64}, ""),
    ({"training__batch": 9}, "train"),
    ({"training__context": 65}, "train, evaluate, mine, ablation on text"),
    ({"training__learning_rate": 0.1}, "train"),
    ({"training__learning_rate": 0.002}, ""),
    ({"training__warmup_steps": 1}, "train"),
    ({"training__schedule": "cosine"}, "train"),
    ({"training__betas": [0.8, 0.9]}, "train"),
    ({"training__clip": 1.0}, "train"),
    ({"training__precision": "bfloat16"}, "train"),
    ({"training__log_every": 5}, "train"),
    ({"training__evaluate_every": 5}, "train"),
    ({"training__held_out_rows": 5}, "train"),
    ({"training__checkpoint_steps": [0]}, "train"),
    ({"training__checkpoint_steps": [0, 20]}, ""),
    (
        {"training__device": "cpu"},
        "train, cache, ablation, evaluate, role_scores, ablation on text",
    ),
    ({"perplexity__texts": {"wiki": "b.txt"}}, "evaluate"),
    ({"perplexity__texts": {}}, ""),
    ({"roles__seed": 1}, "role_scores"),
    ({"roles__tokens": 9}, "role_scores"),
    ({"roles__least": 0.4}, "role_stability"),
    ({"ablation__held_out_rows": 5}, "ablation on text"),
    ({"ablation__text": "held_out"}, ""),
    ({"ablation__methods": ["zero"]}, "ablation, ablation on text"),
    ({"ablation__methods": ["zero", "mean"]}, ""),
    ({"ablation__correlation": "kendall"}, "stability_ablation"),
    ({"prompt_lengths__tokens": [5]}, "prefixes"),
    ({"prompt_lengths__prompts": 5}, "prefixes"),
    ({"atlas__prompt": 2}, "head_atlas_table"),
    ({"atlas__heads": 4}, "head_atlas_table"),
    ({"atlas__refits": 2}, "head_atlas_table"),
    ({"atlas__refits": 10}, ""),
    ({"atlas__tokens": 10}, "head_atlas_table"),
    ({"residual__streams": ["resid_pre", "resid_mid"]}, "cache, residual_similarity"),
    ({"residual__streams": ["resid_mid"]}, ""),
    ({"residual__kernel": "linear"}, "residual"),
    ({"residual__estimator": "debiased"}, "residual"),
    ({"meta_sne__perplexity": 5.0}, "meta_sne_table"),
    ({"meta_sne__seed": 1}, "meta_sne_table"),
    ({"stability__prompts": "mine"}, ""),
    ({"stability__anchor": "all"}, ""),
    ({"stability__anchor": "one"}, "layer_stability, commonness"),
    ({"stability__commonness_self": False}, "commonness"),
    ({"figures__palette": "deep"}, "layer_stability, commonness, stability_ablation, residual"),
    ({"figures__colormap": "magma"}, "draw_head_map"),
    (
        {"figures__dpi": 100},
        "draw_head_map, layer_stability, commonness, stability_ablation, residual",
    ),
    ({"figures__include": ["residual"]}, ""),
    ({"study": "renamed"}, ""),
]


@pytest.mark.parametrize(("edits", "changed"), EFFECTS, ids=[str(item[0])[:50] for item in EFFECTS])
def test_a_job_changes_with_the_keys_it_uses(tmp_path, monkeypatch, edits, changed):
    monkeypatch.chdir(tmp_path)
    with_files(tmp_path)
    (tmp_path / "b.txt").write_text("longer text")
    before, after = all_uses(config()), all_uses(config(**edits))
    found = {name for name in before if before[name] != after[name]}
    assert found == set(filter(None, changed.split(", ")))


@pytest.mark.parametrize(
    ("grown", "changed"),
    [("a", {"corpus", "evaluate"}), ("mine", {"mine"}), ("saved", {"tokenizer"})],
)
def test_a_file_that_changed_reaches_the_jobs_that_read_it(tmp_path, monkeypatch, grown, changed):
    monkeypatch.chdir(tmp_path)
    raw = config(tokenizer=SAVED, perplexity__texts={"wiki": "a.txt"})
    with_files(tmp_path)
    before = all_uses(raw)
    with_files(tmp_path, **{grown: "lext"})  # of the same size
    after = all_uses(raw)
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_order_of_streams_does_not_matter():
    both = [["resid_mid", "resid_pre"], ["resid_pre", "resid_mid"]]
    one, other = (all_uses(config(residual__streams=streams)) for streams in both)
    assert one == other


def test_figures_know_which_anchor_to_show():
    assert derived.value_of(Study(config()), "shown_anchor", {}) == "all"
    one = Study(config(stability={"prompts": "passages", "anchor": "one"}))
    assert derived.value_of(one, "shown_anchor", {}) == "seed3"


def test_training_knows_its_shape_and_every_setting():
    study = Study(config())
    shape = {"layers": 4, "heads": 4, "d_model": 32, "mlp": False}
    found = derived.value_of(study, "shape", {"architecture": "large"})
    assert found.items() >= shape.items()
    spec = watched_jobs()["train"].parameter["spec"]
    assert (spec["steps"], spec["checkpoint_steps"]) == (40, [0, 20, 40])
    settings = {name for name in type(study.config.training).model_fields if name != "tokens"}
    assert {f"training.{name}" for name in settings - {"steps", "checkpoint_steps"}} <= spec.keys()


def test_values_are_those_of_the_config():
    study = Study(config())
    assert value_of(study, "training.batch", {}) == 8
    assert value_of(study, "{weight_decay}", {"weight_decay": "0.1"}) == "0.1"
    prompts = value_of(study, "prompts.{prompts}", {"prompts": "passages"})
    assert (prompts["count"], prompts["tokens"]) == (6, 20)
    assert value_of(study, "anchor", CELL) == "seed3"
    assert list(used(study, ["prompts.{prompts}"], {"prompts": "mine"})) == ["prompts.mine"]


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("training.learning_rate", "training.learning_rate"),
        ("prompts.passages.seed", "prompts.passages.seed"),
        ("shape.d_model", "architectures.small.d_model"),
        ("shape", "architectures.small"),
        ("cell_seeds.init_seed", "refits"),
        ("seeds.seed1", "refits"),
        ("perplexity_content.wiki", "perplexity.texts (content of the files)"),
        ("anchor", "refits (the first is the anchor)"),
        ("places", "architectures.small.source"),
    ],
)
def test_keys_in_words(place, key):
    assert key_in_words(place, CELL) == key
