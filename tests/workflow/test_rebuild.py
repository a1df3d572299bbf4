"""Each output is rebuilt only when its inputs change: edits and exactly the jobs they set off.

Every case is a dry run in the finished smoke study. What really runs is in test_rebuild_runs.py.
"""

import shutil
from contextlib import ExitStack

import pytest
import yaml
from driver import SMOKE, dry_run
from plan import (
    ANCHORS,
    ATLAS,
    EVERYTHING,
    MAP,
    OVER_ALL,
    WITHOUT_ZERO,
    edited,
    expect,
    rewritten,
)

from headstability.registry.rows import ROWS

STUDY = "studies/smoke.yaml"
TWO = "two: {layers: 2, heads: 4, d_model: 16, mlp: false}"
ONE = "one: {layers: 1, heads: 16, d_model: 32}"
PASSAGES = "passages: {type: held_out, count: 6, tokens: 20}"
OTHER = f"{PASSAGES}\n  other: {{type: held_out, count: 5, tokens: 10}}"
NOTHING = ()


def test_the_plan_has_every_job(smoke):
    expect(smoke, EVERYTHING, args=["--forceall"])


def test_no_edit_no_job(smoke):
    expect(smoke)


# --- code ---------------------------------------------------------------------------------

WITHOUT_MEANING = {
    "a comment": (
        "models/transformer",
        "INIT_SCALE = 0.8  # weights",
        "INIT_SCALE = 0.8  # All weights",
    ),
    "a new comment": (
        "models/transformer",
        "class Block(nn.Module):",
        "# One\n\nclass Block(nn.Module):",
    ),
    "a docstring": ("models/shape", '"""Width of one head."""', '"""Width of a single head."""'),
    "no docstring": ("models/shape", '        """Width of one head."""\n', ""),
    "the module's docstring": ("models/transformer", '"""The decoder-only', '"""One decoder-only'),
    "spacing": ("models/shape", "self.d_model // self.heads", "(self.d_model\n  //  self.heads)"),
    "quotes": ("models/transformer", '"norm" in name', "'norm' in name"),
}


@pytest.mark.parametrize("edit", WITHOUT_MEANING)
def test_code_that_means_the_same(smoke, edit):
    module, old, new = WITHOUT_MEANING[edit]
    with edited(smoke / f"scripts/headstability/{module}.py", old, new):
        expect(smoke)


def test_comment_in_every_file(smoke):
    with ExitStack() as stack:
        for path in [*smoke.glob("scripts/**/*.py"), *smoke.glob("rules/*.smk")]:
            stack.enter_context(rewritten(path, lambda text: text + "\n# Checked.\n"))
        stack.enter_context(rewritten(smoke / STUDY, lambda text: "# Checked.\n" + text))
        expect(smoke)


def test_a_statement_that_nobody_uses(smoke):
    """A job's hash holds what its script reaches, not whole modules of the library."""
    with ExitStack() as stack:
        for path in smoke.glob("scripts/headstability/*/*.py"):
            if path.name != "__init__.py":
                stack.enter_context(rewritten(path, lambda text: text + "\n_MORE = 1\n"))
        expect(smoke)


# A module, what is edited in it, its replacement, and where the jobs it sets off begin.
CODE = {
    "one drawing": ("plots/heads", "min(4, len(layers))", "4", ["Figure: pairs of refits"]),
    "one table": ("tables/layers", "1 - table", "1.0 - table", ["Table of commonness"]),
    "the style": ("plots/style", '"font.size": 9', '"font.size": 8', ["Figure"]),
    "a constant of similarity": (
        "measures/similarity",
        "GEMM_COLUMNS = 2**16",
        "GEMM_COLUMNS = 2**15",
        [
            "Comparing",
            "Shared and specific parts",
            "Stability by prompt length",
            "Residual streams",
        ],
    ),
    "a constant of models": ("models/transformer", "EPS = 1e-5", "EPS = 1e-6", ["Training"]),
    "an analysis": ("analysis/ablation", '"zero", "mean"', '"mean", "zero"', ["Ablating"]),
    # The corpus of the smoke study comes with the project, but its job has the code for the hub's.
    "fetching from the hub": ("hub/download", ".rstrip", ".strip", [EVERYTHING]),
    "fetching weights": ("hub/download", "hub.fetch(name)", "hub.fetch(str(name))", NOTHING),
    "importing weights": ("exchange/importing", "file.is_file()", "file.exists()", NOTHING),
    "verifying": ("monitor/verify", "size / 1e6", "size / 1e7", NOTHING),
    "a message": ("storage/progress", "def update(", "def updated(", NOTHING),
    "a title in the report": ("registry/rows", '"Head atlas"', '"Atlas of heads"', NOTHING),
}


@pytest.mark.parametrize("edit", CODE)
def test_code_of_the_library(smoke, edit):
    module, old, new, patterns = CODE[edit]
    with edited(smoke / f"scripts/headstability/{module}.py", old, new):
        expect(smoke, *patterns)


SCRIPTS = {
    "cells/cache.py": ["Caching"],
    "figures/table.py": ["Table of"],
    "figures/figure.py": ["Figure"],
    "job.py": NOTHING,
    "why.py": NOTHING,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script(smoke, script):
    """Of a rule's script every statement counts."""
    with rewritten(smoke / "scripts" / script, lambda text: text + "\n_MORE = 1\n"):
        expect(smoke, *SCRIPTS[script])


def test_threads_and_resources_in_rules(smoke):
    cells = smoke / "rules/cells.smk"
    edits = [(" threads: 1", " threads: 2"), ('mem_mb=memory("train")', "mem_mb=9000")]
    edits += [('minutes("train")', "900"), ("save_seconds=20", "save_seconds=5")]
    with ExitStack() as stack:
        for old, new in edits:
            stack.enter_context(edited(cells, old, new))
        expect(smoke, args=["--cores", "2"])


# --- config: a text of studies/smoke.yaml, what replaces it, and where the jobs begin -----

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
    "corpus.seed": ("study: smoke", "study: smoke\ncorpus: {type: sotu, seed: 1}", (EVERYTHING,)),
    "tokenizer.vocabulary": ("vocabulary: 300", "vocabulary: 301", ("Making the tokenizer",)),
    # Training
    "training.learning_rate": ("1.0e-2", "2.0e-2", ("Training",)),
    "training.steps": ("steps: 30", "steps: 31", ("Training",)),
    "training.batch": ("batch: 8", "batch: 9", ("Training",)),
    "training.clip": ("batch: 8", "batch: 8\n  clip: 1.0", ("Training",)),
    "training.checkpoint_steps": ("steps: [0]", "steps: [0, 15]", ("Training",)),
    "a checkpoint step and a learning rate": (
        "learning_rate: 1.0e-2\n  evaluate_every: 15\n  held_out_rows: 32\n  checkpoint_steps: [0]",
        "learning_rate: 2.0e-2\n  evaluate_every: 15\n  held_out_rows: 32\n"
        "  checkpoint_steps: [15]",
        ("Training",),
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
    "architectures reordered": (f"{ONE}\n  {TWO}", f"{TWO}\n  {ONE}", (OVER_ALL, MAP)),
    "architecture added": (
        TWO,
        f"{TWO}\n  three: {{layers: 1, heads: 1, d_model: 8}}",
        ("Training three", OVER_ALL),
    ),
    "architecture removed": (
        f"{ONE}\n",
        "\n",
        (OVER_ALL, MAP),
    ),
    "architecture renamed": (
        "two:",
        "second:",
        ("Training second", OVER_ALL),
    ),
    # Weight decays
    "weight decay added": (
        "[0, 0.1]",
        "[0, 0.1, 0.2]",
        (r"Training .*, wd 0\.2", OVER_ALL),
    ),
    "weight decay removed": ("[0, 0.1]", "[0.1]", WITHOUT_ZERO),
    "weight decays reordered": ("[0, 0.1]", "[0.1, 0]", (OVER_ALL, "Comparing the same seeds")),
    # Refits
    "seed added": (
        "refits: 2",
        "refits: [1, 2, 3]",
        ("Training .*, seed3",),
    ),
    "a refit more": ("refits: 2", "refits: 3", ("Training .*, seed3",)),
    "seed replaced": (
        "refits: 2",
        "refits: [2, 3]",
        ("Training .*, seed3",),
    ),
    "seeds reordered": ("refits: 2", "refits: [2, 1]", (ANCHORS, ATLAS)),
    "seeds crossed": (
        "refits: 2",
        "refits: {init_seeds: [1, 2], data_seeds: [7]}",
        ("Training",),
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
    ),
    "ablation.text, another set": (
        PASSAGES,
        f"{OTHER}\nablation: {{text: other}}",
        ("Making the prompt set other",),
    ),
    "ablation.text, held out": (
        PASSAGES,
        f"{PASSAGES}\nablation: {{text: held_out}}",
        ("Ablating",),
    ),
    "ablation.held_out_rows, unused": (
        PASSAGES,
        f"{PASSAGES}\nablation: {{held_out_rows: 31}}",
        NOTHING,
    ),
    # Another study
    "study": ("study: smoke", "study: other", (EVERYTHING,)),
}


@pytest.mark.parametrize("edit", CONFIG)
def test_config(smoke, edit):
    old, new, patterns = CONFIG[edit]
    with edited(smoke / STUDY, old, new):
        expect(smoke, *patterns)


# Of the look of figures: a section of the config, what rows of the registry call it, a figure
# that shows it, and one that does not.
LAYERS, PAIRS = "Figure: layer stability", "Figure: pairs of refits of two, wd 0"
LOOK = {
    "figures: {dpi: 100}": (None, LAYERS, ""),
    "figures: {palette: deep}": ("figures.palette", LAYERS, PAIRS),
    "figures: {colormap: magma}": ("figures.colormap", PAIRS, LAYERS),
    "stability: {anchor: one}": ("shown_anchor", LAYERS, PAIRS),
    "stability: {commonness_self: false}": (
        "stability.commonness_self",
        "Figure: commonness",
        LAYERS,
    ),
}


@pytest.mark.parametrize("section", LOOK)
def test_the_look_redraws_the_figures_that_show_it(smoke, section):
    key, shown, other = LOOK[section]
    rules = {row.rule for row in ROWS if row.draw and (key is None or key in row.look.values())}
    with edited(smoke / STUDY, "study: smoke", f"study: smoke\n{section}"):
        messages, plan = dry_run(smoke, *SMOKE)
    assert messages == sorted(job.message for job in plan.jobs if job.rule in rules)
    assert shown in messages
    assert other not in messages


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
        expect(smoke)


def test_the_same_study_under_another_name_of_its_file(smoke, tmp_path):
    shutil.copy(smoke / STUDY, tmp_path / "mine.yaml")
    expect(smoke, study=("--configfile", tmp_path / "mine.yaml"))


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
    expect(smoke, args=[option, tmp_path])


@pytest.mark.parametrize(
    "args",
    [("--cores", "1"), ("--cores", "16"), ("--cores", "4", "--set-threads", "train=4")],
    ids=" ".join,
)
def test_another_number_of_cores(smoke, args):
    expect(smoke, args=args)
