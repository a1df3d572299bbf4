"""What a study takes: formulas against real files and models."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from plans import plan_of_config
from test_config import edited
from torch.utils.flop_counter import FlopCounterMode

from headstability.analysis.activations import activations
from headstability.models.checkpoints import write_weights
from headstability.models.shape import Shape
from headstability.models.transformer import Transformer
from headstability.storage.stores import write_cache
from headstability.study.study import Study
from headstability.workflow.costs import cache_file_bytes, checkpoint_bytes, forward_flops
from headstability.workflow.estimate import (
    DEVICES,
    Estimate,
    Stage,
    as_text,
    measured_speed,
    speed_of,
)

ROOT = Path(__file__).resolve().parents[2]
FORMS = [
    Shape(layers=2, heads=8, d_model=64, mlp=True, context=64, vocabulary=700),
    Shape(layers=3, heads=4, d_model=32, mlp=False, context=64, vocabulary=700),
]


def model_of(form):
    model = Transformer(form)
    model.initialise(1)
    return model.eval().requires_grad_(False)


def planned_study(text):
    """A study of `edited`, and its jobs."""
    config = edited(text)
    return Study(config), plan_of_config(config).jobs


@pytest.mark.parametrize("form", FORMS)
def test_sizes_of_checkpoints_and_caches(form, tmp_path):
    model = model_of(form)
    write_weights(tmp_path / "a.safetensors", model, {"cell": "a/wd0/seed1", "step": 1})
    size = (tmp_path / "a.safetensors").stat().st_size
    assert checkpoint_bytes(form) == pytest.approx(size, rel=0.05)
    prompts = [[3] * 51] * 60  # more than one chunk of entries
    data = activations(model, prompts, torch.device("cpu"))
    write_cache(tmp_path / "a.zarr.zip", data, {"cell": "a/wd0/seed1"})
    size = (tmp_path / "a.zarr.zip").stat().st_size
    assert cache_file_bytes(form, [51] * 60) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_operations_of_a_forward_pass(form):
    """Counted by torch."""
    model, tokens = model_of(form), torch.zeros((2, 40), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        x = model.start(tokens)
        for block in model.blocks:
            _, z = block.pattern_and_z(x)
            x = block.resume(x, z)
        model.logits(x)
    found = forward_flops(form, 40) * tokens.numel()
    assert found == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_files_are_all_there_will_be():
    study, planned = planned_study("refits: 3")
    stages = Estimate(study, planned).stages()
    paths = [path for job in planned for path in job.outputs]
    hashed = (".csv", ".pdf", ".png", ".md", "documents.jsonl", "tokenizer.json")
    sidecars = [path for path in paths if path.endswith(hashed)]
    jobs = sum(stage.jobs for stage in stages)
    benchmarks = sum(job.benchmark is not None for job in planned)
    assert sum(stage.files for stage in stages) == len(paths) + len(sidecars) + jobs + benchmarks
    cells = len(study.cells())
    assert {s.rule: s.jobs for s in stages}["train"] == cells
    assert {s.rule: s.jobs for s in stages}["ablation"] == cells


def test_more_work_takes_more():
    def of(stage, text):
        found = {s.rule: s for s in Estimate(*planned_study(text)).stages()}
        return found[stage]

    assert of("train", "training: {steps: 200}").operations > 1.9 * (
        of("train", "training: {steps: 100}").operations
    )
    few, many = of("similarity", "refits: 2"), of("similarity", "refits: 4")
    assert many.operations == pytest.approx(4 * few.operations)
    assert many.size > 2 * few.size
    temporary = of("cache", "caches: {keep: false}")
    assert temporary.size < 0.01 * of("cache", "refits: 4").size
    assert temporary.jobs == of("cache", "{}").jobs
    assert of("cache", "refits: 4").size == pytest.approx(
        2 * of("cache", "refits: 2").size, rel=0.01
    )


def test_time_and_table():
    stage = Stage("train", 10, 70, 5_000_000, 7e12)
    assert stage.seconds(1e12) == pytest.approx(10 * 3 + 7)
    text = as_text([stage, Stage("cache", 1, 2, 10, 0.0)], 1e12, 2, "H100")
    assert "2 x H100, 1,000 GFLOP/s each" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["train"][1:] == ["10", "70", "5", "MB", "7.0e+12", "18", "s"]
    assert lines["together"][1:3] == ["11", "72"]


def test_speeds():
    assert measured_speed() > 1e8
    for name in DEVICES:
        speed, shown = speed_of(name)
        assert 1e12 < speed < 1e15
        assert shown == name.upper()


def test_the_command(tmp_path):
    config = yaml.safe_load((ROOT / "studies" / "paper.yaml").read_text())
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, ROOT / "scripts/estimate.py", "--device", "h100", "--configfile"]
    done = subprocess.run(
        [*command, tmp_path / "study.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^train +1200 ", done.stdout, re.M)
    wrong = subprocess.run([*command, "none.yaml"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("\nError: the config none.yaml cannot be read")
