"""What jobs are said to need, against the things themselves."""

import inspect
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from headstability import ablation, activations, conditions, costs, needs
from headstability.caches import write_cache
from headstability.model import Shape, Transformer
from headstability.needs import ModelSizes, Needs
from headstability.study import Study

SCRIPTS = Path(costs.__file__).resolve().parents[1]
shapes = st.builds(
    lambda layers, heads, width, mlp, context, vocabulary: Shape(
        layers, heads, heads * width, mlp, context, vocabulary
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 8),
    st.booleans(),
    st.integers(2, 20),
    st.integers(2, 40),
)


@settings(deadline=None, max_examples=40)
@given(shapes)
def test_parameters_are_those_of_the_model(shape):
    assert costs.parameters(shape) == sum(p.numel() for p in Transformer(shape).parameters())


@settings(deadline=None, max_examples=20)
@given(shapes, st.integers(1, 3))
def test_operations_are_those_a_profiler_counts(shape, rows):
    """Of explicit attention; matrix products alone count."""
    model = Transformer(shape)
    tokens = torch.zeros((rows, shape.context), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        x = model.start(tokens)
        for block in model.blocks:
            _, z = block.attention.pattern_and_z(block.norm_attention(x))
            x = block.after_attention(x + block.attention.write(z))
        model.logits(x)
    stated = rows * shape.context * costs.forward_flops(shape, shape.context)
    assert stated == counter.get_total_flops()


def grow(function, **changes):
    """Memory and minutes of two shapes, the second larger in one respect."""
    small = {"layers": 4, "heads": 8, "d_model": 256, "mlp": True, "context": 128}
    small |= {"vocabulary": 5000}
    return function(ModelSizes(**small)), function(ModelSizes(**(small | changes)))


LENGTHS = [51] * 400
JOBS = {
    "training": lambda sizes: costs.training(sizes, 200_000, 16, 10, 512, gpu=False),
    "caching": lambda sizes: costs.caching(sizes, LENGTHS * 40, 8),
    "ablating": lambda sizes: costs.ablating(sizes, LENGTHS * 4, 16, 4),
}


@pytest.mark.parametrize("name", sorted(JOBS))
@pytest.mark.parametrize("change", [{"layers": 8}, {"d_model": 512}, {"vocabulary": 20_000}])
def test_needs_grow_with_the_model(name, change):
    small, large = grow(JOBS[name], **change)
    assert large.memory > small.memory
    assert large.minutes >= small.minutes


def test_a_gpu_is_faster_and_takes_memory_of_its_own():
    cpu, gpu = (
        costs.training(ModelSizes(8, 8, 512, True, 128, 5000), 10_000, 64, 10, 512, gpu)
        for gpu in (False, True)
    )
    assert gpu.minutes < cpu.minutes
    assert gpu.memory == cpu.memory + costs.CUDA_MEMORY


def test_stability_is_streamed():
    """Memory is bounded whatever the number of prompts; time is not."""
    sizes = ModelSizes(8, 8, 512, True, 128, 5000)
    few, many = (
        costs.measuring_stability(sizes, 20, [51] * count, needs.SLAB_ENTRIES)
        for count in (100, 1000)
    )
    assert many.memory < few.memory + 200
    assert many.minutes > few.minutes


# --- measured -----------------------------------------------------------------------------

# Runs one kind of job and prints by how many bytes the process has grown at most.
MEASURE = """
import json, sys
import numpy as np, torch
from headstability.ablation import ablate_heads
from headstability.activations import activations
from headstability.caches import write_cache
from headstability.model import Shape, Transformer
from headstability.tokens import TokenFile
from headstability.training import Cell, Recipe, Trainer
from pathlib import Path

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

torch.set_num_threads(1)
job = json.loads(sys.argv[1])
shape = Shape(**job["shape"])
tiny = Transformer(Shape(1, 1, 8, True, 8, 8))
tiny(torch.zeros((1, 8), dtype=torch.int64)).sum().backward()
torch.optim.AdamW(tiny.parameters(), fused=True).step()
before = peak()
draw = np.random.default_rng(0)
prompts = [draw.integers(shape.vocabulary, size=n).tolist() for n in job["lengths"]]
if job["kind"] == "training":
    ids = draw.integers(shape.vocabulary, size=40 * shape.context).astype("u2")
    tokens = TokenFile(ids, 0, shape.vocabulary, "0")
    recipe = Recipe(2, job["batch"], shape.context, 1e-3, 0, "constant", (0.9, 0.999), 1.0,
                    "float32", "cpu", 1, 1, 16)
    cell = Cell("cell", shape, recipe, 0.1, 1, 1, [2])
    Trainer(cell, tokens, tokens, Path("state"), "").run(0, lambda: None)
elif job["kind"] == "caching":
    model = Transformer(shape).eval().requires_grad_(False)
    write_cache("a.zarr.zip", activations(model, prompts, torch.device("cpu")), {})
else:
    ablate_heads(Transformer(shape).eval().requires_grad_(False), prompts, 0)
print(peak() - before)
"""
MEDIUM = {"heads": 4, "mlp": True, "context": 128}
CASES = {
    "training a large vocabulary": ("training", {"layers": 2, "d_model": 128, "vocabulary": 9000}),
    "training a wide model": ("training", {"layers": 4, "d_model": 512, "vocabulary": 500}),
    "caching": ("caching", {"layers": 4, "d_model": 64, "vocabulary": 500}),
    "ablating a large vocabulary": ("ablating", {"layers": 1, "d_model": 64, "vocabulary": 9000}),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_memory_is_enough_and_not_wasteful(case, tmp_path):
    kind, sizes = CASES[case]
    shape = Shape(**sizes, **MEDIUM)
    lengths = [100] * (200 if kind == "caching" else 20)
    job = {"kind": kind, "shape": asdict(shape), "lengths": lengths, "batch": 16}
    (tmp_path / "state").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(job)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SCRIPTS), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    measured = int(done.stdout.split()[-1]) / costs.MEGABYTE
    need = {
        "training": lambda: costs.training(shape, 2, 16, 3, 16, gpu=False),
        "caching": lambda: costs.caching(shape, lengths, needs.CACHE_BATCH),
        "ablating": lambda: costs.ablating(shape, lengths, 16, 4),
    }[kind]()
    stated = need.memory - costs.BASE_MEMORY
    print(f"{case}: {measured:.0f} MB measured, {stated} MB stated")
    assert measured > 20, "too small to tell anything"
    assert measured <= stated <= 6 * measured


def test_the_size_of_a_cache_is_that_of_the_file(tmp_path):
    shape = Shape(2, 2, 8, True, 32, 50)
    prompts = [[0, *range(1, n)] for n in (30, 20, 30)]
    model = Transformer(shape).eval().requires_grad_(False)
    data = activations.activations(model, prompts, torch.device("cpu"))
    entries = sum(activations.triangle_entries(len(prompt)) for prompt in prompts)
    stored = costs.cache_bytes(shape, entries, 80)
    assert stored == sum(data[name].nbytes for name in ("pattern", "z", "resid_mid"))
    write_cache(tmp_path / "a.zarr.zip", data, {})
    assert stored < (tmp_path / "a.zarr.zip").stat().st_size


# --- of a study ---------------------------------------------------------------------------

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


def test_batch_sizes_are_those_of_the_modules():
    batch = inspect.signature(activations.activations).parameters["batch"].default
    assert batch == needs.CACHE_BATCH
    assert ablation.PROMPTS_PER_BATCH == needs.ABLATION_BATCH
    assert ablation.HEADS_PER_BATCH == needs.ABLATION_HEADS
    assert conditions.SLAB_ENTRIES == needs.SLAB_ENTRIES


@pytest.mark.parametrize("rule", ["corpus", "tokenizer", "tokens", "train", "cache", "ablation"])
@pytest.mark.parametrize("text", ["passages", "held_out"])
def test_every_job_needs_something(rule, text):
    need = Needs(Study(STUDY)).of(rule, WILDCARDS | {"text": text})
    assert need.memory > costs.BASE_MEMORY
    assert need.minutes > costs.BASE_MINUTES


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
    found = Needs(study)
    assert found.text_bytes() == (50_000, 50_000)
    assert found.vocabulary() == 301
    assert found.lengths("mine") == [4, 16, 64]  # a token a byte at most; 64 is the context


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
    assert Needs(study).vocabulary() == 0
    assert Needs(study).lengths("mine") == [64]
    assert np.isfinite(Needs(study).of("train", WILDCARDS).memory)
