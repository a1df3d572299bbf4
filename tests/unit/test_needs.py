"""What the jobs of a study are said to need: its sizes, and which rules ask."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstability.registry.rows import ROWS
from headstability.study.study import Study
from headstability.workflow import resources
from headstability.workflow.job_costs import CKA_THREADS, COSTS
from headstability.workflow.resources import Needs
from headstability.workflow.sizes import Sizes

SCRIPTS = Path(resources.__file__).resolve().parents[2]
STUDY = {
    "study": "s",
    "architectures": {"a": {"layers": 2, "heads": 2, "d_model": 16}},
    "training": {"steps": 10, "context": 64},
}
WILDCARDS = {
    "architecture": "a",
    "weight_decay": "0",
    "refit": "seed1",
    "step": "10",
    "prompts": "passages",
    "text": "passages",
}


def test_what_is_read_to_plan_is_light():
    """Libraries that take seconds to import are those of the modules that do the work."""
    code = "import sys, headstability.workflow.resources; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "xarray", "zarr", "pandas", "tokenizers"} & set(done.stdout.split())


def rules():
    """The rules with a script: name and text."""
    texts = [path.read_text() for path in (SCRIPTS.parent / "rules").glob("*.smk")]
    found = re.findall(r"^rule (\w+):\n((?:[ \t].*\n|\n)*)", "".join(texts), re.MULTILINE)
    return {name: body for name, body in found if "script:" in body}


SIZED = sorted(name for name, body in rules().items() if "mem_mb=memory(" in body)


def test_what_is_submitted_says_what_it_needs():
    for name, body in rules().items():
        asks = (f'mem_mb=memory("{name}")' in body, f'runtime=minutes("{name}")' in body)
        assert asks == ((name in SIZED,) * 2), name
        assert ("localrule: True" in body) == (name not in SIZED), name
    assert f"threads: {CKA_THREADS}" in rules()["residual_similarity"]
    large = {row.table_rule for row in ROWS if row.large}
    assert {*SIZED, *large} >= set(COSTS)  # of others, a little is taken to be held


def test_what_may_use_a_gpu_holds_a_place_on_one():
    """Nothing else would keep the jobs of a pilot, or of one machine, from crowding it."""
    runs_models = {name for name in rules() if "choose_device(" in script(name)} | {"train"}
    assert runs_models == {name for name, body in rules().items() if "gpu_slots=1" in body}
    assert len(runs_models) > 3


def script(rule):
    (path,) = SCRIPTS.glob(f"*/{rule}.py")
    return path.read_text()


@pytest.mark.parametrize("rule", SIZED)
@pytest.mark.parametrize("text", ["passages", "held_out"])
def test_every_job_needs_something(rule, text):
    need = Needs(Study(STUDY)).of(rule, WILDCARDS | {"text": text})
    assert need.memory > resources.BASE_MEMORY
    assert need.minutes > resources.BASE_MINUTES


def test_sizes_of_the_users_files_count(tmp_path):
    text, prompts, saved = (tmp_path / n for n in ("text.txt", "prompts.txt", "tokenizer.json"))
    text.write_text("word " * 10_000)
    prompts.write_text("one\nfifteen letters\n" + "long " * 100 + "\n")
    vocabulary = {str(number): number for number in range(300)}
    saved.write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": [{"id": 300}]}))
    study = Study(
        STUDY
        | {
            "corpus": {"type": "text", "paths": [str(text)], "documents": "file"},
            "tokenizer": {"type": "file", "path": str(saved)},
            "prompts": {"mine": {"type": "file", "path": str(prompts)}},
            "stability": {"prompts": "mine"},
            "ablation": {"text": "mine"},
        }
    )
    found = Sizes(study, at_most=True)
    assert found.text == (50_000, 50_000)
    assert Needs(study).tokenising_threads() == 1
    assert found.vocabulary == 301
    assert found.lengths("mine") == [4, 16, 64]  # a token a byte at most; 64 is the context


@pytest.mark.parametrize(("size", "threads"), [(0, 1), (2**23 - 1, 1), (2**23, 2), (2**30, 16)])
def test_tokenising_takes_more_threads_for_more_text(tmp_path, size, threads):
    text = tmp_path / "text.txt"
    with text.open("wb") as file:
        file.truncate(size)
    corpus = {"type": "text", "paths": [str(text)], "documents": "file"}
    assert Needs(Study(STUDY | {"corpus": corpus})).tokenising_threads() == threads


def test_files_that_cannot_be_read_are_left_to_their_own_job(tmp_path):
    (tmp_path / "prompts.json").write_text("{")
    (tmp_path / "tokenizer.json").write_text("[]")
    study = Study(
        STUDY
        | {
            "tokenizer": {"type": "file", "path": str(tmp_path / "tokenizer.json")},
            "prompts": {"mine": {"type": "file", "path": str(tmp_path / "prompts.json")}},
            "stability": {"prompts": "mine"},
            "ablation": {"text": "mine"},
        }
    )
    assert Sizes(study, at_most=True).vocabulary == 0
    assert Sizes(study, at_most=True).lengths("mine") == [64]
    needed = Needs(study).of("train", WILDCARDS | {"prompts": "mine", "text": "mine"})
    assert np.isfinite(needed.memory)
