"""What jobs are said to need, against the things themselves."""

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

from headstability.analysis import activations
from headstability.analysis import similarities as conditions
from headstability.measures import registry as measures
from headstability.models.shape import Shape
from headstability.models.transformer import Transformer
from headstability.storage.stores import write_cache
from headstability.study.study import Study
from headstability.workflow import costs, resources
from headstability.workflow.resources import Needs
from headstability.workflow.sizes import Sizes, Work

SCRIPTS = Path(costs.__file__).resolve().parents[2]
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
    assert shape.parameters == sum(p.numel() for p in Transformer(shape).parameters())


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


LARGE = {"layers": 8, "heads": 8, "d_model": 512}


def study_of(shape, context=128, vocabulary=5000, refits=5, prompts=400, tokens=50, **changes):
    """A study of one architecture."""
    training = {"steps": 10_000, "batch": 16, "evaluate_every": 1000, "context": context}
    return Study(
        {
            "study": "s",
            "architectures": {"a": shape},
            "refits": refits,
            "training": training | changes.pop("training", {}),
            "tokenizer": {"type": "bpe", "vocabulary": vocabulary},
            "prompts": {"passages": {"type": "held_out", "count": prompts, "tokens": tokens}},
            **changes,
        }
    )


def need(rule, study, gpu=False):
    """What a job asks for."""
    wildcards = {"architecture": "a", "prompts": "passages", "text": "passages"}
    wildcards |= {"refit": "seed1"} if rule == "role_scores" else {}
    return Needs(study).of(rule, wildcards, gpu)


@pytest.mark.parametrize("rule", ["train", "cache", "ablation", "evaluate"])
@pytest.mark.parametrize("change", [{"layers": 8}, {"d_model": 512}, {"vocabulary": 20_000}])
def test_needs_grow_with_the_model(rule, change):
    small = {"layers": 4, "heads": 8, "d_model": 256, "vocabulary": 5000}
    found = []
    for sizes in (small, small | change):
        vocabulary = sizes.pop("vocabulary")
        found.append(need(rule, study_of(sizes, vocabulary=vocabulary, prompts=2000)))
    assert found[1].memory > found[0].memory
    assert found[1].minutes >= found[0].minutes


def test_a_gpu_is_faster_and_takes_memory_of_its_own():
    study = study_of(LARGE, training={"batch": 64})
    cpu, gpu = (need("train", study, gpu) for gpu in (False, True))
    assert gpu.minutes < cpu.minutes
    assert gpu.memory >= cpu.memory + resources.CUDA_MEMORY


COMPARED = ["similarity", "measures", "adjust", "residual_similarity", "norms", "prefixes"]
COMPARED += ["stability", "role_scores", "role_stability", "meta_sne_table", "head_atlas_table"]
# Of tables, or of one number a token: what more of them takes is less than a minute.
SMALL = ("stability", "adjust", "norms", "role_stability")


@pytest.mark.parametrize("rule", COMPARED)
def test_needs_grow_with_refits_and_prompts(rule):
    base = need(rule, study_of(LARGE))
    for more in ({"refits": 50}, {"prompts": 4000}):
        found = need(rule, study_of(LARGE, **more))
        assert found.memory >= base.memory
        assert found.minutes >= base.minutes
        same = (found.memory, found.minutes) == (base.memory, base.minutes)
        # Roles are scored of one refit at a time.
        assert not same or rule in SMALL or (rule == "role_scores" and "refits" in more)


@pytest.mark.parametrize("rule", ["similarity", "measures", "prefixes", "role_scores"])
def test_patterns_are_streamed(rule):
    """Beside one refit's layer, memory is bounded whatever the number of prompts; time is not."""
    studies = [study_of(LARGE, refits=20, prompts=count) for count in (400, 4000)]
    few, many = (Work(Sizes(study), {"architecture": "a"}) for study in studies)
    layers = (many.verifying - few.verifying) / resources.MEGABYTE
    # Measuring holds z of nine refits, one of them in float64 some times over, but no patterns.
    z = (9 * 4 + 4 * 8) * (many.positions - few.positions) * LARGE["d_model"] / resources.MEGABYTE
    room = z if rule == "measures" else 0
    wanted, found = (need(rule, study) for study in studies)
    assert found.memory <= wanted.memory + layers + room + 2
    assert found.minutes > wanted.minutes


# --- measured -----------------------------------------------------------------------------

# Runs one kind of job and prints by how many bytes the process has grown at most.
MEASURE = """
import json, sys
import numpy as np, torch
from headstability.analysis.ablation import ablate_heads
from headstability.analysis.measures import condition_measures
from headstability.analysis.similarities import condition_similarity, open_similarity
from headstability.analysis.prompt_length import stability_by_length
from headstability.analysis.streams import residual_pairs
from headstability.analysis.activations import activations
from headstability.storage.stores import write_cache
from headstability.models.transformer import Transformer
from headstability.models.shape import Shape
from headstability.text.token_files import TokenFile
from headstability.training.settings import Cell, Recipe
from headstability.training.loop import Trainer
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
                    "float32", None, None, "cpu", 1, 1, 16)
    cell = Cell("cell", shape, recipe, 0.1, 1, 1, [2])
    Trainer(cell, tokens, tokens, Path("state"), "").run(0, lambda: None)
elif job["kind"] == "caching":
    model = Transformer(shape).eval().requires_grad_(False)
    write_cache("a.zarr.zip", activations(model, prompts, torch.device("cpu")), {})
elif job["kind"] == "comparing heads":
    write_cache("a.zarr.zip", *condition_similarity(job["refits"], job["caches"]))
elif job["kind"] == "measuring":
    found = condition_measures(job["refits"], job["caches"], job["measures"])
    write_cache("measures.zarr.zip", *found)
elif job["kind"] == "comparing streams":
    residual_pairs(job["refits"], job["caches"], ["resid_mid"], 2)
elif job["kind"] == "comparing prefixes":
    stability_by_length(job["refits"], job["caches"], 20, None)
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
TOO_SMALL = 20  # megabytes: nothing can be told of less


def measure(job, folder):
    """By how many bytes a process grows that does a job; a text."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(job)],
        cwd=folder,
        env={"PYTHONPATH": str(SCRIPTS), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.split()[-1]


@pytest.mark.parametrize("case", sorted(CASES))
def test_memory_is_enough_and_not_wasteful(case, tmp_path):
    kind, sizes = CASES[case]
    shape = Shape(**sizes, **MEDIUM)
    lengths = [100] * (200 if kind == "caching" else 20)
    job = {"kind": kind, "shape": asdict(shape), "lengths": lengths, "batch": 16}
    (tmp_path / "state").mkdir()
    rule = {"training": "train", "caching": "cache", "ablating": "ablation"}[kind]
    study = study_of(
        {"layers": shape.layers, "heads": shape.heads, "d_model": shape.d_model},
        vocabulary=shape.vocabulary,
        prompts=len(lengths),
        tokens=lengths[0] - 1,
        training={"steps": 2, "held_out_rows": 16},
    )
    assert_near(need(rule, study), int(measure(job, tmp_path)))


def assert_near(need, measured):
    """Memory that is stated is enough for what was measured, and not wasteful."""
    measured, stated = measured / resources.MEGABYTE, need.memory - resources.BASE_MEMORY
    print(f"{measured:.0f} MB measured, {stated} MB stated")
    assert measured > TOO_SMALL
    assert measured <= stated <= 6 * measured


REFITS = [f"seed{number}" for number in range(1, 9)]
COMPARING = {
    "comparing heads": "similarity",
    "measuring": "measures",
    "comparing streams": "residual_similarity",
    "comparing prefixes": "prefixes",
}


@pytest.fixture(scope="module")
def condition(tmp_path_factory):
    """Caches of eight refits, and the similarity of their heads."""
    folder = tmp_path_factory.mktemp("condition")
    shape = Shape(2, 8, 64, False, 128, 50)
    prompts = np.random.default_rng(0).integers(1, 50, size=(40, 100)).tolist()
    paths = []
    for number, refit in enumerate(REFITS):
        model = Transformer(shape).eval().requires_grad_(False)
        model.initialise(number)
        data = activations.activations(model, prompts, torch.device("cpu"))
        attributes = {"cell": f"a/wd0/{refit}", "step": 0, "weights_sha256": "", "prompts": "p"}
        paths.append(str(folder / f"{refit}.zarr.zip"))
        write_cache(paths[-1], data, attributes | {"prompts_sha256": ""})
    write_cache(folder / "similarity.zarr.zip", *conditions.condition_similarity(REFITS, paths))
    sizes = {"layers": 2, "heads": 8, "d_model": 64, "mlp": False}
    return folder, paths, study_of(sizes, refits=len(REFITS), prompts=40, tokens=99)


@pytest.mark.parametrize("kind", COMPARING)
def test_memory_of_comparisons_is_enough_and_not_wasteful(kind, condition):
    folder, paths, study = condition
    job = {"kind": kind, "caches": paths, "refits": REFITS, "lengths": []}
    job |= {"shape": asdict(Shape(2, 8, 64, False, 128, 50))}
    job |= {"measures": list(measures.MEASURES)}
    assert_near(need(COMPARING[kind], study), int(measure(job, folder)))


def test_the_size_of_a_cache_is_that_of_the_file(tmp_path):
    shape = Shape(2, 2, 8, True, 32, 50)
    prompts = [[0, *range(1, n)] for n in (30, 20, 30)]
    model = Transformer(shape).eval().requires_grad_(False)
    data = activations.activations(model, prompts, torch.device("cpu"))
    stored = costs.cache_bytes(shape, [30, 20, 30])
    assert stored == sum(variable.nbytes for variable in data.data_vars.values())
    write_cache(tmp_path / "a.zarr.zip", data, {})
    assert stored < (tmp_path / "a.zarr.zip").stat().st_size
