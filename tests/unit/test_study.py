"""The grid of a study and the paths of its files."""

import copy
import re

import pytest
from plans import plan_of_config
from snakemake.io import regex_from_filepattern

from headstability.errors import UserError
from headstability.registry.rows import FIGURES
from headstability.study import derived
from headstability.study.paths import fill, format_weight_decay
from headstability.study.study import Study


def config(**edits):
    """A config with every kind of section; `a__b` edits key b of section a."""
    raw = {
        "study": "demo",
        "architectures": {
            "small": {"layers": 2, "heads": 4, "d_model": 16},
            "large": {"layers": 4, "heads": 4, "d_model": 32, "mlp": False},
        },
        "refits": [3, 1, 2],
        "weight_decays": [0.1, 0],
        "training": {"steps": 40, "batch": 8, "context": 64, "checkpoint_steps": [20, 0]},
        "corpus": {"type": "text", "paths": ["a.txt", "b.txt"]},
        "tokenizer": {"type": "bpe", "vocabulary": 300},
        "prompts": {
            "passages": {"type": "held_out", "count": 6, "tokens": 20},
            "mine": {"type": "file", "path": "mine.txt"},
        },
    }
    for name, value in edits.items():
        *sections, key = name.split("__")
        section = raw
        for part in sections:
            section = section.setdefault(part, {})
        if value is None:
            del section[key]
        else:
            section[key] = copy.deepcopy(value)
    return raw


# --- the grid -----------------------------------------------------------------------------


def test_conditions_and_cells_follow_the_config():
    study = Study(config())
    pairs = [(item["architecture"], item["weight_decay"]) for item in study.conditions()]
    assert pairs == [("small", "0.1"), ("small", "0"), ("large", "0.1"), ("large", "0")]
    cells = [tuple(item.values()) for item in study.cells()]
    assert cells == [(*pair, f"seed{seed}") for pair in pairs for seed in (1, 2, 3)]


def test_paths_of_a_cell():
    study = Study(config())
    filled = study.every(study.paths.checkpoint, step=40)
    assert len(filled) == len(set(filled)) == 12
    assert filled[0] == "results/demo/cells/small/wd0.1/seed1/checkpoints/step40.safetensors"


def test_count_of_refits_means_seeds_from_one():
    assert Study(config(refits=3)).refit_names() == ["seed1", "seed2", "seed3"]


def test_crossed_refits():
    study = Study(config(refits={"init_seeds": [2, 1], "data_seeds": [7, 5]}))
    assert study.refit_names() == ["init1-data5", "init1-data7", "init2-data5", "init2-data7"]
    assert study.anchor == "init2-data7"
    assert derived.value_of(study, "cell_seeds", {"refit": "init1-data7"}) == {
        "init_seed": 1,
        "data_seed": 7,
    }


def test_order_of_listing_moves_the_anchor_and_nothing_else():
    first, second = Study(config(refits=[3, 1, 2])), Study(config(refits=[1, 2, 3]))
    assert (first.anchor, second.anchor) == ("seed3", "seed1")
    assert first.cells() == second.cells()
    assert first.refit_names() == second.refit_names()
    assert derived.value_of(first, "seeds", {}) == derived.value_of(second, "seeds", {})
    assert first.conditions() == second.conditions()


def test_both_seeds_of_a_cell_are_its_seed():
    seeds = derived.value_of(Study(config()), "cell_seeds", {"refit": "seed3"})
    assert seeds == {"init_seed": 3, "data_seed": 3}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e-05, "0.00001"),
        (1.0, "1"),
        (100, "100"),
        (10, "10"),
        (0.30000000000000004, "0.30000000000000004"),
        (2.5e-11, "0.000000000025"),
    ],
)
def test_spelling_of_weight_decays(value, text):
    assert format_weight_decay(value) == text
    assert float(text) == value
    assert fill("wd{weight_decay}", weight_decay=value) == f"wd{text}"
    assert Study(config(weight_decays=[value, 50])).weight_decays == [text, "50"]


def test_the_weight_decay_of_the_path_is_the_one_trained_with():
    cells = Study(config(weight_decays=[1e-05])).cells()
    assert {float(cell["weight_decay"]) for cell in cells} == {1e-05}


@pytest.mark.parametrize(("tokens", "steps"), [(512, 1), (1023, 1), (1024, 2), (51200, 100)])
def test_steps_from_tokens(tokens, steps):
    raw = config(training__steps=None, training__tokens=tokens, training__checkpoint_steps=[])
    assert Study(raw).steps == steps
    assert Study(raw).checkpoint_steps == [steps]


def test_checkpoint_steps_are_sorted_and_hold_the_last_step_once():
    assert Study(config()).checkpoint_steps == [0, 20, 40]
    assert Study(config(training__checkpoint_steps=[40, 5])).checkpoint_steps == [5, 40]


# --- what is asked for --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wildcards", "words"),
    [
        ({"architecture": "smal"}, ["'smal'", "key architectures", "small, large"]),
        ({"weight_decay": "0.10"}, ["'0.10'", "key weight_decays", "0.1, 0"]),
        ({"refit": "seed4"}, ["'seed4'", "key refits", "seed1, seed2, seed3"]),
        ({"step": "7"}, ["'7'", "training.checkpoint_steps", "0, 20, 40"]),
        ({"prompts": "held_out"}, ["'held_out'", "key prompts", "passages, mine"]),
        ({"text": "wiki"}, ["'wiki'", "prompts, or held_out", "passages, mine, held_out"]),
        ({"refit": "x", "step": "y"}, ["'x'", "'y'", "study 'demo'"]),
    ],
)
def test_requests_outside_the_study_are_told_what_is_configured(wildcards, words):
    with pytest.raises(UserError) as caught:
        Study(config()).require(**wildcards)
    assert [word for word in words if word not in str(caught.value)] == []


def test_requests_within_the_study_pass():
    study = Study(config())
    for cell in study.cells():
        study.require(**cell, step="20", prompts="mine", text="held_out")


def test_long_lists_are_cut():
    with pytest.raises(UserError) as caught:
        Study(config(refits=500)).require(refit="seed501")
    assert "seed20, ..." in str(caught.value)
    assert "seed21" not in str(caught.value)


def matches(pattern, path):
    return re.match(regex_from_filepattern(pattern), path)


def test_outputs_of_the_study_are_known():
    study, plan = Study(config()), plan_of_config(config())
    made = [path for job in plan.jobs for path in job.outputs] + plan.on_request
    assert len(set(made)) == len(made) > 100
    for path in made:
        assert not matches(study.unknown_output_pattern, path), path
        assert not matches(study.unknown_target_pattern, path), path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("results/demo/figures/layer_stabilty.pdf", ["no figure", "mean layer_stability?", ".png"]),
        ("results/demo/figures/layer_stability.svg", ["no figure 'layer_stability.svg'", ".pdf"]),
        ("results/demo/figures/heads.pdf", ["no figure 'heads.pdf'", "layer_stability"]),
        ("results/demo/tables/layer_stability.pdf", ["no table", "heads", ".csv"]),
        ("results/demo/tables/head.csv", ["no table 'head.csv'", "mean heads?"]),
        ("results/demo/figures/head_map.pdf", ["no figure", "head_map/{architecture}/wd"]),
        ("results/other/figures/layer_stability.pdf", ["study 'demo'", "--configfile"]),
        ("results/demo2/tables/heads.csv", ["study 'demo'", "--configfile"]),
    ],
)
def test_misspelt_outputs_are_explained(path, words):
    study = Study(config())
    assert matches(study.unknown_output_pattern, path)["unknown"] == path
    message = str(study.unknown_output(path))
    assert [word for word in words if word not in message] == []


def test_figures_of_a_weight_decay_alone():
    """meta_sne is drawn once a weight decay, over all architectures."""
    study = Study(config())
    found = [path for path in study.figure_paths("meta_sne") if path.endswith(".png")]
    assert found == [f"results/demo/figures/meta_sne/wd{decay}.png" for decay in ("0.1", "0")]
    for path in found:
        assert not matches(study.unknown_output_pattern, path)
    wrong = "results/demo/figures/meta_sne.png"
    assert matches(study.unknown_output_pattern, wrong)
    assert "meta_sne/wd{weight_decay}" in str(study.unknown_output(wrong))


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("layer_stabilty", "layer_stability"),
        ("layer-stability", "layer_stability"),
        ("figure", "figures"),
        ("verfy", "verify"),
        ("fig3", None),
    ],
)
def test_misspelt_targets_are_explained(name, guess):
    study = Study(config())
    assert matches(study.unknown_target_pattern, name)["unknown"] == name
    message = str(study.unknown_output(name))
    assert message.startswith(f"there is no target {name!r}; there are all, figures, tables, mea")
    assert all(figure in message for figure in FIGURES)
    assert guess is None or message.endswith(f"Did you mean {guess}?")


def test_files_of_the_user_are_no_mistakes():
    """A text without an ending, and another study's tokenizer, are inputs and not outputs."""
    saved = "results/other/corpus/tokenizer.json"
    raw = config(corpus__paths=["text", "more.txt"], tokenizer={"type": "file", "path": saved})
    study = Study(raw)
    assert not matches(study.unknown_target_pattern, "text")
    assert not matches(study.unknown_output_pattern, saved)
    assert matches(study.unknown_target_pattern, "texts")
    assert matches(study.unknown_output_pattern, saved + "l")
    assert matches(study.unknown_output_pattern, saved.replace(".json", "_json"))


def test_paths_with_odd_characters_keep_the_patterns_valid():
    study = Study(config(corpus__paths=["a (1), [b]+.txt", "results/o$|x"]))
    assert matches(study.unknown_target_pattern, "figurs")
    assert not matches(study.unknown_output_pattern, "results/o$|x")
    assert matches(study.unknown_output_pattern, "results/o")


# --- files --------------------------------------------------------------------------------


def test_missing_files_are_named_by_their_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").mkdir()
    raw = config(tokenizer={"type": "file", "path": "saved.json"})
    with pytest.raises(UserError) as caught:
        Study(raw).check_files()
    lines = str(caught.value).split("\n")[1:]
    assert [line.strip().split(";")[0] for line in lines] == [
        "corpus.paths[2]: b.txt is not a file",
        "tokenizer.path: saved.json is not a file",
        "prompts.mine.path: mine.txt is not a file",
    ]


def with_files(folder, **texts):
    for name in ("a.txt", "b.txt", "mine.txt", "saved.json"):
        (folder / name).write_text(texts.get(name.split(".", maxsplit=1)[0], "text"))


@pytest.mark.parametrize("blocked", ["results", "results/demo"])
def test_a_file_where_results_should_be(tmp_path, monkeypatch, blocked):
    monkeypatch.chdir(tmp_path)
    with_files(tmp_path)
    Study(config()).check_files()
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("")
    with pytest.raises(UserError, match=f"{blocked} is not a directory: .* move it away"):
        Study(config()).check_files()
