"""Each output is rebuilt only when its inputs change: edits and exactly the jobs they set off.

Every case is a dry run in the finished smoke study. What really runs is in test_rebuild_runs.py.
"""

import shutil
from contextlib import ExitStack

import pytest
import yaml
from driver import SMOKE, jobs
from modules import (
    AGGREGATES,
    ATLAS,
    EVERYTHING,
    FIGURES,
    MAP,
    MODULES,
    NOTHING,
    WITHOUT_ZERO,
)
from plan import HEADS, Plan, edited, expect, removed, rewritten

STUDY = "studies/smoke.yaml"
TWO = "two: {layers: 2, heads: 4, d_model: 16, mlp: false}"
ONE = "one: {layers: 1, heads: 16, d_model: 32}"
PASSAGES = "passages: {type: held_out, count: 6, tokens: 20}"
OTHER = f"{PASSAGES}\n  other: {{type: held_out, count: 5, tokens: 10}}"
THREE_SEEDS = ("seed1", "seed2", "seed3")


def jobs_below(patterns, **grid):
    return Plan(**grid).below(*patterns) if patterns else []


def test_the_plan_knows_every_job(smoke):
    expect(smoke, jobs_below(EVERYTHING), "--forceall")


def test_no_edit_no_job(smoke):
    expect(smoke, [])


# --- code ---------------------------------------------------------------------------------

WITHOUT_MEANING = {
    "a comment": ("model", "INIT_SCALE = 0.8  # weights", "INIT_SCALE = 0.8  # All weights"),
    "a new comment": ("model", "class Block(nn.Module):", "# One\n\nclass Block(nn.Module):"),
    "a docstring": ("shape", '"""Width of one head."""', '"""Width of a single head."""'),
    "no docstring": ("shape", '        """Width of one head."""\n', ""),
    "the module's docstring": ("model", '"""The decoder-only', '"""One decoder-only'),
    "spacing": ("shape", "self.d_model // self.heads", "(self.d_model\n  //  self.heads)"),
    "quotes": ("model", '"norm" in name', "'norm' in name"),
}


@pytest.mark.parametrize("edit", WITHOUT_MEANING)
def test_code_that_means_the_same(smoke, edit):
    module, old, new = WITHOUT_MEANING[edit]
    with edited(smoke / f"scripts/headstability/{module}.py", old, new):
        expect(smoke, [])


def test_comment_in_every_file(smoke):
    with ExitStack() as stack:
        for path in [*smoke.glob("scripts/**/*.py"), *smoke.glob("rules/*.smk")]:
            stack.enter_context(rewritten(path, lambda text: text + "\n# Checked.\n"))
        stack.enter_context(rewritten(smoke / STUDY, lambda text: "# Checked.\n" + text))
        expect(smoke, [])


def with_a_statement_more(text):
    return text + "\n_MORE = 1\n"


@pytest.mark.parametrize("module", [module for module, jobs in MODULES.items() if jobs])
def test_code_of_a_module(smoke, module):
    with rewritten(smoke / "scripts" / module, with_a_statement_more):
        expect(smoke, jobs_below(MODULES[module]))


def test_code_that_reaches_no_job(smoke):
    modules = [module for module, jobs in MODULES.items() if not jobs]
    assert len(modules) > 20
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(rewritten(smoke / "scripts" / module, with_a_statement_more))
        expect(smoke, [])


CONSTANTS = {
    "model.py": ("LAYER_NORM_EPS = 1e-5", "LAYER_NORM_EPS = 1e-6", ("Training",)),
    "similarity.py": (
        "GEMM_COLUMNS = 2**16",
        "GEMM_COLUMNS = 2**15",
        MODULES["headstability/similarity.py"],
    ),
    "plots/style.py": ("PANEL = 3.3", "PANEL = 3.4", FIGURES),
}


@pytest.mark.parametrize("module", CONSTANTS)
def test_one_number_of_a_module(smoke, module):
    old, new, patterns = CONSTANTS[module]
    with edited(smoke / "scripts/headstability" / module, old, new):
        expect(smoke, jobs_below(patterns))


def test_threads_and_resources_in_rules(smoke):
    cells = smoke / "rules/cells.smk"
    edits = [(" threads: 1", " threads: 2"), ('mem_mb=memory("train")', "mem_mb=9000")]
    edits += [('minutes("train")', "900"), ("save_seconds=20", "save_seconds=5")]
    with ExitStack() as stack:
        for old, new in edits:
            stack.enter_context(edited(cells, old, new))
        expect(smoke, [], "--cores", "2")


# --- config: a text of studies/smoke.yaml, what replaces it, jobs, and the grid they are of ----

CONFIG = {
    # What means the same
    "0.10 for 0.1": ("[0, 0.1]", "[0.0, 0.10]", NOTHING),
    "0.01 for 1.0e-2": ("1.0e-2", "0.01", NOTHING),
    "refits as a list": ("refits: 2", "refits: [1, 2]", NOTHING),
    "tokens for steps": ("steps: 30", "tokens: 7689", NOTHING),
    "defaults written out": (
        "study: smoke",
        "study: smoke\ncorpus: {type: sotu, seed: 0}\nstability: {prompts: passages}\n"
        "ablation: {text: passages}\nfigures: {dpi: 200}",
        NOTHING,
    ),
    "keys of an architecture reordered": (
        TWO,
        "two: {mlp: false, d_model: 16, heads: 4, layers: 2}",
        NOTHING,
    ),
    # Text, tokenizer
    "corpus.seed": ("study: smoke", "study: smoke\ncorpus: {type: sotu, seed: 1}", EVERYTHING),
    "tokenizer.vocabulary": ("vocabulary: 300", "vocabulary: 301", ("Making the tokenizer",)),
    # Training
    "training.learning_rate": ("1.0e-2", "2.0e-2", ("Training",)),
    "training.steps": ("steps: 30", "steps: 31", ("Training",), {"step": 31}),
    "training.batch": ("batch: 8", "batch: 9", ("Training",)),
    "training.clip": ("batch: 8", "batch: 8\n  clip: 1.0", ("Training",)),
    "training.checkpoint_steps": ("steps: [0]", "steps: [0, 15]", ("Training",)),
    "a checkpoint step and a learning rate": (
        "learning_rate: 1.0e-2\n  evaluate_every: 15\n  held_out_rows: 32\n  checkpoint_steps: [0]",
        "learning_rate: 2.0e-2\n  evaluate_every: 15\n  held_out_rows: 32\n"
        "  checkpoint_steps: [15]",
        ("Training",),
        {"untrained": False},
    ),
    "two values of training swapped": (
        "evaluate_every: 15\n  held_out_rows: 32",
        "evaluate_every: 32\n  held_out_rows: 15",
        ("Training",),
    ),
    # Architectures
    "two values of an architecture swapped": (
        "layers: 2, heads: 4",
        "layers: 4, heads: 2",
        ("Training two",),
    ),
    "two architectures swapped": (
        f"{ONE}\n  {TWO}",
        f"{TWO.replace('two', 'one')}\n  {ONE.replace('one', 'two')}",
        ("Training",),
    ),
    "architectures reordered": (f"{ONE}\n  {TWO}", f"{TWO}\n  {ONE}", (*AGGREGATES, MAP)),
    "architecture added": (
        TWO,
        f"{TWO}\n  three: {{layers: 1, heads: 1, d_model: 8}}",
        ("Training three", *AGGREGATES),
        {"architectures": ("one", "two", "three")},
    ),
    "architecture removed": (
        f"{ONE}\n",
        "\n",
        (*AGGREGATES, MAP),
        {"architectures": ("two",)},
    ),
    "architecture renamed": (
        "two:",
        "second:",
        ("Training second", *AGGREGATES),
        {"architectures": ("one", "second")},
    ),
    # Weight decays
    "weight decay added": (
        "[0, 0.1]",
        "[0, 0.1, 0.2]",
        (r"Training .*, wd 0\.2", *AGGREGATES),
        {"decays": ("0", "0.1", "0.2")},
    ),
    "weight decay removed": ("[0, 0.1]", "[0.1]", WITHOUT_ZERO, {"decays": ("0.1",)}),
    "weight decays reordered": ("[0, 0.1]", "[0.1, 0]", AGGREGATES),
    # Refits
    "seed added": (
        "refits: 2",
        "refits: [1, 2, 3]",
        ("Training .*, seed3",),
        {"refits": THREE_SEEDS},
    ),
    "a refit more": ("refits: 2", "refits: 3", ("Training .*, seed3",), {"refits": THREE_SEEDS}),
    "seed replaced": (
        "refits: 2",
        "refits: [2, 3]",
        ("Training .*, seed3",),
        {"refits": ("seed2", "seed3")},
    ),
    "seeds reordered": ("refits: 2", "refits: [2, 1]", ("Table of the anchor", ATLAS)),
    "seeds crossed": (
        "refits: 2",
        "refits: {init_seeds: [1, 2], data_seeds: [7]}",
        ("Training",),
        {"refits": ("init1-data7", "init2-data7"), "crossed": True},
    ),
    # Prompts and what is measured on them
    "prompts.count": ("count: 6", "count: 7", ("Making the prompt set",)),
    "prompts.tokens": ("tokens: 20", "tokens: 19", ("Making the prompt set",)),
    "prompts.seed": ("tokens: 20", "tokens: 20, seed: 1", ("Making the prompt set",)),
    "prompt set added": (PASSAGES, OTHER, NOTHING),
    "stability.prompts": (
        PASSAGES,
        f"{OTHER}\nstability: {{prompts: other}}",
        ("Making the prompt set other",),
        {"prompts": "other"},
    ),
    "ablation.text, another set": (
        PASSAGES,
        f"{OTHER}\nablation: {{text: other}}",
        ("Making the prompt set other",),
        {"text": "other"},
    ),
    "ablation.text, held out": (
        PASSAGES,
        f"{PASSAGES}\nablation: {{text: held_out}}",
        ("Ablating",),
        {"text": "held_out"},
    ),
    "ablation.held_out_rows, unused": (
        PASSAGES,
        f"{PASSAGES}\nablation: {{held_out_rows: 31}}",
        NOTHING,
    ),
    # What figures show
    "stability.anchor": (
        PASSAGES,
        f"{PASSAGES}\nstability: {{anchor: one}}",
        ("Figure: layer", "Figure: best", "Figure: comm", "Figure: the contrast", "Figure: most"),
    ),
    "stability.commonness_self": (
        PASSAGES,
        f"{PASSAGES}\nstability: {{commonness_self: false}}",
        ("Figure: commonness",),
    ),
    # The look
    "figures.palette": ("study: smoke", "study: smoke\nfigures: {palette: deep}", FIGURES),
    "figures.colormap": ("study: smoke", "study: smoke\nfigures: {colormap: magma}", FIGURES),
    "figures.dpi": ("study: smoke", "study: smoke\nfigures: {dpi: 100}", FIGURES),
    # Another study
    "study": ("study: smoke", "study: other", EVERYTHING),
}


@pytest.mark.parametrize("edit", CONFIG)
def test_config(smoke, edit):
    old, new, patterns, *grid = CONFIG[edit]
    with edited(smoke / STUDY, old, new):
        expect(smoke, jobs_below(patterns, **(grid[0] if grid else {})))


def _backwards(value, keep=("architectures",)):
    """Mappings with their keys in the opposite order; that of architectures is the figures'."""
    if not isinstance(value, dict):
        return value
    return {
        key: (
            {name: _backwards(item) for name, item in value[key].items()}
            if key in keep
            else _backwards(value[key])
        )
        for key in reversed(value)
    }


def test_keys_in_the_opposite_order(smoke):
    def change(text):
        return yaml.safe_dump(_backwards(yaml.safe_load(text)), sort_keys=False)

    with rewritten(smoke / STUDY, change):
        assert list(yaml.safe_load((smoke / STUDY).read_text()))[-1] == "study"
        expect(smoke, [])


def test_the_same_study_under_another_name_of_its_file(smoke, tmp_path):
    shutil.copy(smoke / STUDY, tmp_path / "mine.yaml")
    expect(smoke, [], study=("--configfile", tmp_path / "mine.yaml"))


# --- how it is run ------------------------------------------------------------------------

OTHER_PROFILE = """
rerun-triggers: [mtime, params, input]
max-checksum-file-size: 1GB
cores: 1
retries: 2
latency-wait: 30
keep-going: false
printshellcmds: true
default-resources: [mem_mb=700, "partition='long'"]
set-threads: [train=2, stability=2]
set-resources: ["train:mem_mb=9000", "train:runtime=600", "cache:gpus=1"]
"""


@pytest.mark.parametrize("option", ["--workflow-profile", "--profile"])
def test_another_profile(smoke, tmp_path, option):
    (tmp_path / "config.yaml").write_text(OTHER_PROFILE)
    expect(smoke, [], option, tmp_path)


@pytest.mark.parametrize(
    "args",
    [("--cores", "1"), ("--cores", "16"), ("--cores", "4", "--set-threads", "train=4")],
    ids=" ".join,
)
def test_another_number_of_cores(smoke, args):
    expect(smoke, [], *args)


# --- files that are gone ------------------------------------------------------------------

STABILITY = "Stability of two, wd 0, step 30$"
GONE = {
    "figures/layer_stability.png": ("Figure: layer stability",),
    "figures/head_map/two/wd0.pdf": ("Figure: head map of two, wd 0$",),
    "tables/heads.csv": (HEADS,),
    "conditions/two/wd0/step30/ablation/passages/seed2.csv": ("Ablating two, wd 0, seed2",),
    "conditions/two/wd0/step30/stability/passages/pairs.csv": (STABILITY,),
    "conditions/two/wd0/step30/stability/passages/commonness.csv": (STABILITY,),
    "conditions/two/wd0/refits.csv": ("Checking that the refits of two, wd 0 differ",),
    "tables/pairwise/one/wd0.1.csv": (r"Table of pairs of refits of one, wd 0\.1",),
}


@pytest.mark.parametrize("name", GONE)
def test_a_deleted_figure_table_or_measurement(smoke, name):
    with removed(smoke / "results/smoke" / name):
        expect(smoke, jobs_below(GONE[name]))


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
        expect(smoke, [])
        expect(smoke, [GONE_WITHIN[name]], f"results/smoke/{name}")


def test_deleted_weights_do_not_hold_up_new_refits(smoke):
    weights = (smoke / "results/smoke/cells").glob("**/*.safetensors")
    grown = Plan(refits=THREE_SEEDS).below("Training .*, seed3")
    with removed(*weights), edited(smoke / STUDY, "refits: 2", "refits: 3"):
        expect(smoke, grown)


def test_deleted_logs_and_benchmarks(smoke):
    """Nobody reads what a job said or how long it took."""
    with removed(smoke / "results/smoke/logs", smoke / "results/smoke/benchmarks"):
        expect(smoke, [])


def test_a_deleted_file_concerns_only_those_who_ask_for_it(smoke):
    with removed(smoke / "results/smoke/tables/heads.csv"):
        assert jobs(smoke, "head_map", *SMOKE) == []
