"""Speed of stability beside the published way; prints tables in Markdown.

    python tests/benchmarks/stability.py
    python tests/benchmarks/stability.py --repeat 7 --prompts 5

Run it in an environment of its own: pip install -r envs/lock.txt -r envs/benchmark.txt. Without
transformer-lens its half is left out. Sides take turns in one process with one thread, as rules
have it; a side's time is its shortest, in processor seconds, which other work on the machine
disturbs less. With OMP_NUM_THREADS=2 (or more) in the environment both sides have as many threads,
and times are those of the wall clock: for an idle machine. The published way is timed on a few
prompts (its time grows in proportion to them), this project on all 100; both are given per prompt.
"""

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

# Read when NumPy and PyTorch are imported.
THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import xarray as xr  # noqa: E402

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "scripts"), str(HERE)]

from baselines import published_stability  # noqa: E402

from headstability.analysis import similarities as conditions  # noqa: E402
from headstability.analysis.activations import activations  # noqa: E402
from headstability.conventions import triangle_entries  # noqa: E402
from headstability.measures import similarity  # noqa: E402
from headstability.models.shape import Shape  # noqa: E402
from headstability.models.transformer import Transformer  # noqa: E402
from headstability.storage.machine import keep_freed_memory  # noqa: E402
from headstability.storage.stores import write_cache  # noqa: E402
from headstability.tables.measures import condition_tables  # noqa: E402

LAYERS, HEADS, D_MODEL, CONTEXT, VOCABULARY = 8, 8, 512, 1024, 5000
PROMPTS, LENGTH = 100, 51
ENTRIES = triangle_entries(LENGTH)
HAS_TRANSFORMER_LENS = importlib.util.find_spec("transformer_lens") is not None


def fastest(repeat, **sides):
    """Seconds of each side, the shortest of `repeat` turns."""
    clock = time.process_time if THREADS == 1 else time.perf_counter
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(repeat):
        for name, run in sides.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
    return best


def gemm_peak(size=3000):
    """FLOP/s of a float32 product of squares, by the faster of NumPy and PyTorch."""
    one = np.random.default_rng(0).random((size, size), dtype=np.float32)
    two = torch.from_numpy(one.copy())
    seconds = fastest(5, numpy=lambda: one @ two.numpy(), torch=lambda: torch.from_numpy(one) @ two)
    return 2 * size**3 / min(seconds.values())


def random_triangles(rng, prompts):
    """Patterns of one refit, packed: [layer, head, entry]."""
    causal = np.tril(np.ones((LENGTH, LENGTH), dtype=bool))
    weights = rng.standard_exponential((LAYERS, HEADS, prompts, LENGTH, LENGTH), dtype=np.float32)
    weights = np.where(causal, weights**3, np.float32(0))
    weights /= weights.sum(-1, keepdims=True)
    return weights[..., *np.tril_indices(LENGTH)].reshape(LAYERS, HEADS, -1)


def published_caches(packed, few):
    """Patterns of all refits as the published code has them; and how it spells their names.

    With TransformerLens in its own caches, which hold all else that a model computes, too.
    """
    if not HAS_TRANSFORMER_LENS:
        return [[_with_patterns({}, refit, p) for refit in packed] for p in range(few)], {}
    published = importlib.import_module("baselines.transformer_lens_patterns")
    shape = {"layers": LAYERS, "heads": HEADS, "d_model": D_MODEL, "context": LENGTH}
    shape["vocabulary"] = VOCABULARY
    model = published.hooked(shape, Transformer(Shape(**shape, mlp=True)).state_dict())
    with torch.no_grad():
        ((template,),) = published.caches([model], [list(range(LENGTH))])
    made = [
        [
            published.ActivationCache(_with_patterns(template.cache_dict, refit, p), model)
            for refit in packed
        ]
        for p in range(few)
    ]
    return made, {"name": published.name}


def _with_patterns(others, packed, prompt):
    """A cache with one refit's patterns on one prompt as full squares, [head, query, key]."""
    full = torch.zeros(LAYERS, HEADS, LENGTH, LENGTH)
    query, key = np.tril_indices(LENGTH)
    entries = packed[..., prompt * ENTRIES : (prompt + 1) * ENTRIES]
    full[:, :, query, key] = torch.from_numpy(np.ascontiguousarray(entries))
    names = [published_stability.plain_name("pattern", layer, "a") for layer in range(LAYERS)]
    return published_stability.PlainCache({**others, **dict(zip(names, full, strict=True))})


def all_anchors(rows, refits, prompts):
    """This project's way, same layer: stability of all heads of all anchors, [anchor, layer, head].

    Args:
        rows: patterns, [layer, refit x head, entry].
        refits: how many refits.
        prompts: how many prompts.
    """
    groups = similarity.prompt_groups(np.arange(prompts))
    counts = np.bincount(groups)
    sums = np.zeros((LAYERS, len(counts), refits * HEADS, refits * HEADS))
    for first in range(0, prompts, 10):
        entries = np.full(min(10, prompts - first), ENTRIES)
        slab = rows[..., first * ENTRIES : (first + 10) * ENTRIES]
        similarity.add_groups(sums, slab, entries, groups[first : first + 10])
    found = []
    for layer in sums:
        means = similarity.pooled(layer / counts[:, None, None], counts)
        match, _ = similarity.best_match(means.reshape(refits, HEADS, refits, HEADS))
        found.append(similarity.head_stability(match))
    return np.stack(found, axis=1)


def core(refits, few, repeat, peak):
    """The similarity core alone, from patterns in memory."""
    rng = np.random.default_rng(1)
    packed = [random_triangles(rng, PROMPTS) for _ in range(refits)]
    rows = np.concatenate(packed, axis=1)
    caches, names = published_caches(packed, few)
    seconds = fastest(
        repeat,
        published=lambda: published_stability.cosines(caches, LAYERS, HEADS, **names),
        ours=lambda: all_anchors(rows, refits, PROMPTS),
    )
    published, ours = seconds["published"] / few, seconds["ours"] / PROMPTS
    few_rows = rows[..., : few * ENTRIES]
    expected = published_stability.stability(
        published_stability.cosines(caches, LAYERS, HEADS, **names)
    ).numpy()
    agreement = np.abs(all_anchors(few_rows, refits, few)[0] - expected).max()
    # One triangle of the symmetric product is all that is needed: that is what is counted.
    wide = refits * HEADS
    rate = LAYERS * wide * (wide + 1) * ENTRIES / ours
    print(
        f"| {refits} | {published:.3f} | {ours:.5f} | {published / ours:,.0f} "
        f"| {ours * PROMPTS:.2f} | {rate / peak:.0%} | {agreement:.0e} |",
        flush=True,
    )


def write_random_caches(folder, refits):
    """Caches of one condition with patterns alone; returns names and paths."""
    rng = np.random.default_rng(2)
    names = [f"seed{number}" for number in range(1, refits + 1)]
    for name in names:
        packed = random_triangles(rng, PROMPTS)
        dataset = xr.Dataset(
            {"pattern": (("layer", "head", "entry"), packed)},
            coords={"prompt_length": ("prompt", np.full(PROMPTS, LENGTH))},
        )
        provenance = {"cell": f"l8_h8/wd0/{name}", "step": 1, "weights_sha256": name}
        provenance |= {"prompts": "random", "prompts_sha256": "random"}
        write_cache(folder / f"{name}.zarr.zip", dataset, provenance)
    return names, [folder / f"{name}.zarr.zip" for name in names]


def _condition(names, paths, answer):
    start, used = time.perf_counter(), time.process_time()
    dataset, _ = conditions.condition_similarity(names, paths)
    similar = time.perf_counter() - start
    path = Path(paths[0]).with_name("similarity.zarr.zip")
    write_cache(path, dataset, {"condition": "l8_h8/wd0", "refits": names})
    del dataset
    condition_tables(conditions.open_similarity(path, "l8_h8/wd0", names), names)
    total = time.perf_counter() - start
    used = time.process_time() - used
    memory = peak_memory()
    answer.send((similar, total, used, memory))


def peak_memory():
    """Bytes this process held at most. (What getrusage says includes the process it came from.)"""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def condition(refits, threads):
    """What the rules `similarity` and `stability` do for a condition, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        names, paths = write_random_caches(Path(folder), refits)
        receiver, sender = context.Pipe(duplex=False)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        process = context.Process(target=_condition, args=(names, paths, sender))
        process.start()
        similar, total, used, memory = receiver.recv()
        process.join()
    print(
        f"| {refits} | {threads} | {similar:.1f} | {total:.1f} | {used:.1f} | {memory / 1e9:.2f} |",
        flush=True,
    )


def end_to_end(refits, few, repeat):
    """From weights and tokens to stability: one anchor their way, all anchors this project's."""
    published = importlib.import_module("baselines.transformer_lens_patterns")
    shape = {"layers": LAYERS, "heads": HEADS, "d_model": D_MODEL, "context": CONTEXT}
    shape["vocabulary"] = VOCABULARY
    models = []
    for seed in range(refits):
        model = Transformer(Shape(**shape, mlp=True))
        model.initialise(seed)
        models.append(model.eval())
    hooked = [published.hooked(shape, model.state_dict()) for model in models]
    tokens = np.random.default_rng(3).integers(1, VOCABULARY, (PROMPTS, LENGTH))
    tokens[:, 0] = 0
    prompts = tokens.tolist()
    names = [f"seed{number}" for number in range(1, refits + 1)]
    held = []

    def theirs():
        with torch.no_grad():
            found = published.caches(hooked, prompts[:few])
        held[:] = [published.nbytes(found) / few * PROMPTS]
        return published_stability.cosines(found, LAYERS, HEADS, published.name)

    def ours(chosen=prompts):
        cpu = torch.device("cpu")
        patterns = [activations(model, chosen, cpu)["pattern"].values for model in models]
        return all_anchors(np.concatenate(patterns, axis=1), refits, len(chosen))

    def workflow(chosen=prompts):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, f"{name}.zarr.zip") for name in names]
            for name, path, model in zip(names, paths, models, strict=True):
                provenance = {"cell": f"l8_h8/wd0/{name}", "step": 1, "weights_sha256": name}
                provenance |= {"prompts": "random", "prompts_sha256": "random"}
                write_cache(path, activations(model, chosen, torch.device("cpu")), provenance)
            dataset, _ = conditions.condition_similarity(names, paths)
        return condition_tables(dataset, names)

    seconds = fastest(repeat, published=theirs, ours=ours, workflow=workflow)
    a_prompt = {name: one / PROMPTS for name, one in seconds.items()}
    a_prompt["published"] = seconds["published"] / few
    expected = published_stability.stability(theirs()).numpy()
    heads = workflow(prompts[:few])["heads"].query("anchor == 'seed1'")["stability"].to_numpy()
    differences = {
        "ours": np.abs(ours(prompts[:few])[0] - expected).max(),
        "workflow": np.abs(heads.reshape(expected.shape) - expected).max(),
    }
    print(f"| published, one anchor | {a_prompt['published']:.3f} | | {held[0] / 1e9:.1f} | |")
    labels = {
        "ours": "this project, all anchors, same layer, in memory",
        "workflow": "the rules: all anchors, all layers, caches written and verified",
    }
    for name, label in labels.items():
        ratio = a_prompt["published"] / a_prompt[name]
        print(f"| {label} | {a_prompt[name]:.3f} | {ratio:.1f} | | {differences[name]:.0e} |")


def processor():
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="turns of each side")
    parser.add_argument("--prompts", type=int, default=4, help="prompts of the published side")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the rule `cache` does; it serves both sides
    peak = gemm_peak()
    print(
        f"{processor()}, {os.cpu_count()} cores; NumPy {np.__version__}, torch "
        f"{torch.__version__}; {THREADS} thread{'s' * (THREADS > 1)}, "
        f"{'processor' if THREADS == 1 else 'wall-clock'} seconds; "
        f"GEMM peak {peak / 1e9:.0f} GFLOP/s (float32, 3,000 x 3,000)."
    )
    print(f"{LAYERS} layers, {HEADS} heads, {PROMPTS} prompts of {LENGTH} tokens.\n")
    print(
        "| refits | published, one anchor (s a prompt) | this project, all anchors (s a prompt) "
        "| ratio | all prompts (s) | of GEMM peak | largest difference |"
    )
    print("|---|---|---|---|---|---|---|")
    core(5, arguments.prompts, arguments.repeat, peak)
    core(50, 1, max(2, arguments.repeat // 2), peak)
    print("\nOne condition, from its caches: within layers, across all layers, tables.\n")
    print(
        "| refits | threads | similarity (s) | with tables (s) | processor (s) | peak memory (GB) |"
    )
    print("|---|---|---|---|---|---|")
    for threads in sorted({1, os.cpu_count()}):
        condition(50, threads)
    if not HAS_TRANSFORMER_LENS:
        print("\ntransformer-lens is not installed: end to end was not measured")
        return
    print("\nEnd to end, from weights and tokens to the stability of 5 refits:")
    print(f"d_model {D_MODEL}, vocabulary {VOCABULARY:,}, random weights.\n")
    print("| | s a prompt | ratio | held in memory for 100 prompts (GB) | largest difference |")
    print("|---|---|---|---|---|")
    end_to_end(5, arguments.prompts, arguments.repeat)


if __name__ == "__main__":
    main()
