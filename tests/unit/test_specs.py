"""What every job knows of the config."""

import json

import pytest
from test_study import config, with_files

from headstability import specs
from headstability.study import Study


def all_specs(raw):
    """Every specification of a study, by what it is for, as the text rules compare."""
    study = Study(raw)
    made = {
        "corpus": specs.corpus(study),
        "tokenizer": specs.tokenizer(study),
        "tokens": specs.tokens(study),
        "prompts": specs.prompts(study, "passages"),
        "mine": specs.prompts(study, "mine"),
        "train": specs.train(study, "small", "0.1", "seed1"),
        "cache": specs.cache(study),
        "ablation": specs.ablation(study, "passages"),
        "ablation on text": specs.ablation(study, "held_out"),
        "refits": specs.refits(study),
        "anchor": specs.anchor(study),
        "grid": specs.grid(study),
        "look": specs.look(study),
        "figure": specs.figure(study),
        "anchored": specs.anchored(study),
        "commonness": specs.commonness(study),
        "shapes": specs.shapes(study),
        "evaluate": specs.evaluate(study),
        "scores": specs.role_scores(study),
        "roles": specs.role_stability(study),
    }
    return {name: json.dumps(spec, sort_keys=True) for name, spec in made.items()}


ARCHITECTURES = config()["architectures"]
WIDER = {**ARCHITECTURES["small"], "d_model": 64}
# (edits, the specifications that change)
EFFECTS = [
    ({"corpus__held_out": 0.2}, "corpus"),
    ({"corpus__seed": 1}, "corpus"),
    ({"corpus__documents": "file"}, "corpus"),
    ({"corpus__paths": ["b.txt", "a.txt"]}, "corpus"),
    ({"corpus": {"type": "sotu"}}, "corpus"),
    ({"tokenizer__vocabulary": 301}, "tokenizer"),
    (
        {"tokenizer": {"type": "file", "path": "saved.json"}},
        "tokenizer, tokens, prompts, mine, evaluate",
    ),
    ({"prompts__passages__count": 7}, "prompts"),
    ({"prompts__passages__tokens": 21}, "prompts"),
    ({"prompts__passages__seed": 1}, "prompts"),
    ({"prompts__mine__path": "b.txt"}, "mine"),
    ({"prompts__third": {"type": "held_out", "tokens": 5}}, ""),
    ({"architectures__small": WIDER}, "train, shapes"),
    ({"architectures__small__mlp": False}, "train, shapes"),
    ({"architectures__small__mlp": True}, ""),
    ({"architectures__large__layers": 5}, "shapes"),
    ({"architectures": dict(reversed(ARCHITECTURES.items()))}, "grid"),
    ({"architectures__third": WIDER}, "grid, shapes"),
    ({"refits": [3, 1, 2, 4]}, "refits, grid, roles"),
    ({"refits": [1, 2, 3]}, "anchor"),
    ({"weight_decays": [0, 0.1]}, "grid, figure, anchored, commonness"),
    ({"weight_decays": [0.1, 0.0]}, ""),
    ({"weight_decays": [0.1, 0, 1]}, "grid, figure, anchored, commonness"),
    ({"training__steps": 41}, "train"),
    ({"training__steps": None, "training__tokens": 40 * 8 * 64}, ""),
    ({"training__batch": 9}, "train"),
    ({"training__context": 65}, "train, mine, ablation on text, evaluate"),
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
    ({"training__device": "cpu"}, "train, cache, ablation, ablation on text, evaluate, scores"),
    ({"perplexity__texts": {"wiki": "b.txt"}}, "evaluate"),
    ({"roles__seed": 1}, "scores"),
    ({"roles__tokens": 9}, "scores"),
    ({"roles__least": 0.4}, "roles"),
    ({"ablation__held_out_rows": 5}, "ablation on text"),
    ({"ablation__text": "held_out"}, ""),
    ({"stability__prompts": "mine"}, ""),
    ({"stability__anchor": "all"}, ""),
    ({"stability__anchor": "one"}, "anchored, commonness"),
    ({"stability__commonness_self": False}, "commonness"),
    ({"figures__palette": "deep"}, "look, figure, anchored, commonness"),
    ({"figures__colormap": "magma"}, "look, figure, anchored, commonness"),
    ({"figures__dpi": 100}, "look, figure, anchored, commonness"),
    ({"study": "renamed"}, ""),
]


@pytest.mark.parametrize(("edits", "changed"), EFFECTS, ids=[str(item[0])[:50] for item in EFFECTS])
def test_a_specification_changes_with_the_keys_it_uses(tmp_path, monkeypatch, edits, changed):
    monkeypatch.chdir(tmp_path)
    with_files(tmp_path)
    (tmp_path / "b.txt").write_text("longer text")
    before, after = all_specs(config()), all_specs(config(**edits))
    assert {name for name in before if before[name] != after[name]} == set(
        filter(None, changed.split(", "))
    )


@pytest.mark.parametrize(
    ("grown", "changed"), [("a", {"corpus"}), ("mine", {"mine"}), ("saved", {"tokenizer"})]
)
def test_a_file_that_changed_its_size_changes_the_specification(
    tmp_path, monkeypatch, grown, changed
):
    monkeypatch.chdir(tmp_path)
    raw = config(tokenizer={"type": "file", "path": "saved.json"})
    with_files(tmp_path)
    before = all_specs(raw)
    with_files(tmp_path, **{grown: "other text"})
    after = all_specs(raw)
    assert {name for name in before if before[name] != after[name]} == changed


def test_figures_know_which_anchor_to_show():
    assert specs.anchored(Study(config()))["anchor"] == "all"
    one = Study(config(stability={"prompts": "passages", "anchor": "one"}))
    assert specs.anchored(one)["anchor"] == specs.commonness(one)["anchor"] == "seed3"
    assert specs.commonness(one)["with_self"] is True


def test_training_knows_its_shape_and_every_setting():
    spec = specs.train(Study(config()), "large", "0.1", "seed2")
    assert spec["shape"] == {"layers": 4, "heads": 4, "d_model": 32, "mlp": False, "context": 64}
    assert spec["training"]["steps"] == 40
    assert spec["checkpoint_steps"] == [0, 20, 40]
    assert spec["weight_decay"] == 0.1
