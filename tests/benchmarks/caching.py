"""Speed of caching beside TransformerLens; prints a table in Markdown.

    python tests/benchmarks/caching.py
    python tests/benchmarks/caching.py --layers     # linear layers alone, packed and not

Run it in an environment of its own, with transformer-lens 3.9.0; without it that side is left out.
Sides take turns in one process; a side's time is its shortest, by the clock and of processors.
The paper's l8_h8 shape with random weights, vocabulary 5,000, 100 prompts of 51 tokens, one refit.
"""

import argparse
import copy
import importlib
import importlib.util
import os
import platform
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "scripts"), str(HERE)]

from cka import fastest  # noqa: E402

from headstability.analysis.activations import activations  # noqa: E402
from headstability.models.precision import PackedLinear, products  # noqa: E402
from headstability.models.shape import Shape  # noqa: E402
from headstability.models.transformer import Transformer  # noqa: E402
from headstability.storage.machine import keep_freed_memory  # noqa: E402
from headstability.storage.stores import write_cache  # noqa: E402

LAYERS, HEADS, WIDTH, CONTEXT, VOCABULARY = 8, 8, 512, 1024, 5000
PROMPTS, LENGTH = 100, 51


# Inputs and outputs of the linear layers of a layer: queries, keys and values; output; MLP.
LINEAR = [(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)]


def linear_layers(repeat, threads):
    """GFLOP/s of linear layers on a batch of 8 prompts; their errors, GELU after them or within."""
    rows = 8 * LENGTH
    print(f"{rows} rows, threads: {threads}.\n")
    print("| linear layer | PyTorch's | packed | packed, GELU within |")
    print("|---|---|---|---|")
    errors = np.zeros(2)
    with torch.inference_mode(), products("float32", torch.device("cpu")):
        for width, columns in LINEAR:
            layer, x = torch.nn.Linear(width, columns), torch.randn(rows, width)
            packed = PackedLinear(layer)
            packed(x)
            within = (packed.packed, layer.bias, "gelu", [], "none")
            sides = {
                "plain": lambda layer=layer, x=x: layer(x),
                "packed": lambda packed=packed, x=x: packed(x),
                "within": lambda x=x, w=within: torch.ops.mkldnn._linear_pointwise(x, *w),
            }
            found = {name: times for name, (_, times) in fastest(100 * repeat, sides).items()}
            exact = torch.nn.functional.gelu(copy.deepcopy(layer).double()(x.double()))
            after = torch.nn.functional.gelu(layer(x)), sides["within"]()
            errors = np.maximum(errors, [(one - exact).abs().max() for one in after])
            rates = " | ".join(
                f"{2e-9 * rows * width * columns / one[0]:.0f}" for one in found.values()
            )
            print(f"| {width:,} to {columns:,} | {rates} |")
    print(f"\nLargest error with GELU after the layer {errors[0]:.1e}, within it {errors[1]:.1e}.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--prompts", type=int, default=20, help="prompts TransformerLens is timed on"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--layers", action="store_true", help="linear layers alone")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.layers:
        return linear_layers(chosen.repeat, chosen.threads)
    keep_freed_memory()  # as the rule does; it serves both sides
    model = Transformer(Shape(LAYERS, HEADS, WIDTH, True, CONTEXT, VOCABULARY))
    model.initialise(0)
    model.eval().requires_grad_(False)
    prompts = np.random.default_rng(0).integers(0, VOCABULARY, (PROMPTS, LENGTH)).tolist()
    place = Path(tempfile.mkdtemp(prefix="headstability-")) / "passages.zarr.zip"
    device = torch.device("cpu")
    sides = {
        "ours": lambda: activations(model, prompts, device) and None,
        "with file": lambda: write_cache(place, activations(model, prompts, device), {}),
    }
    if importlib.util.find_spec("transformer_lens"):
        published = importlib.import_module("baselines.transformer_lens_cache")
        hooked = published.model(LAYERS, HEADS, WIDTH, CONTEXT, VOCABULARY)
        torch.set_grad_enabled(False)
        few = prompts[: chosen.prompts]
        sides = {"published": lambda: published.cache(hooked, few) and None, **sides}
    else:
        print("transformer-lens is not installed: its side is left out\n", file=sys.stderr)
    found = {name: times for name, (_, times) in fastest(chosen.repeat, sides).items()}
    if "published" in found:
        found["published"] = found["published"] * PROMPTS / chosen.prompts
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    print(f"{machine}, threads: {chosen.threads}.\n")
    print("| caching one refit, 100 prompts of 51 tokens | clock | processors | ratio | ratio |")
    print("|---|---|---|---|---|")
    labels = {
        "published": f"TransformerLens, prompt by prompt ({chosen.prompts} timed)",
        "ours": "this project, in memory",
        "with file": "this project, hashed and written",
    }
    for name, times in found.items():
        ratios = found["published"] / times if "published" in found else [np.nan] * 2
        row = " | ".join(f"{seconds:.2f} s" for seconds in times)
        print(f"| {labels[name]} | {row} | {ratios[0]:.1f} | {ratios[1]:.1f} |")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = place.stat().st_size / 2**20
    print(f"\nRatios: TransformerLens over the line. The file has {size:.0f} MiB; the process used")
    print(f"{memory:.2f} GiB at most, both sides together.")
    place.unlink()
    place.parent.rmdir()


if __name__ == "__main__":
    main()
