"""Speed of ablation beside the published loop; prints a table in Markdown.

    python tests/benchmarks/ablation.py
    python tests/benchmarks/ablation.py --threads 2 --repeat 5

Run it in an environment of its own, with transformer-lens 3.9.0; without it that side is left out.
The paper's l8_h8 shape with random weights, vocabulary 5,000, prompts of 51 tokens, all 64 heads.
Sides take turns in one process, on the same number of threads; a side's time is its shortest, by
the clock and of processors. Both are timed on a few prompts, for their time grows in proportion to
them, and given for 100. Their results on the same prompts are compared.
"""

import argparse
import copy
import importlib
import importlib.util
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "scripts"), str(HERE)]

from headstability.analysis.ablation import ablate_heads  # noqa: E402
from headstability.models.precision import products  # noqa: E402
from headstability.models.shape import Shape  # noqa: E402
from headstability.models.transformer import Transformer  # noqa: E402
from headstability.storage.machine import keep_freed_memory  # noqa: E402

SHAPE = Shape(layers=8, heads=8, d_model=512, mlp=True, context=1024, vocabulary=5000)
PROMPTS, LENGTH, BOS = 100, 51, 0
# Rows, columns and depth of the product whose speed is the machine's: the first of an MLP.
PRODUCT = 1600, 512, 2048


def hooked_weights(model):
    """The weights of a model by the names of TransformerLens."""
    width, heads = model.shape.d_model, model.shape.heads
    found = {
        "embed.W_E": model.embed.weight,
        "pos_embed.W_pos": model.position.weight,
        "ln_final.w": model.norm_final.weight,
        "ln_final.b": model.norm_final.bias,
        "unembed.W_U": model.unembed.weight.T,
        "unembed.b_U": model.unembed.bias,
    }
    for layer, block in enumerate(model.blocks):
        attention, name = block.attention, f"blocks.{layer}"
        for letter, weight, bias in zip(
            "QKV", attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3), strict=True
        ):
            by_head = weight.view(heads, width // heads, width).transpose(1, 2)
            found[f"{name}.attn.W_{letter}"] = by_head
            found[f"{name}.attn.b_{letter}"] = bias.view(heads, width // heads)
        found[f"{name}.attn.W_O"] = attention.out.weight.T.reshape(heads, width // heads, width)
        found[f"{name}.attn.b_O"] = attention.out.bias
        for number, norm in ((1, block.norm_attention), (2, block.norm_mlp)):
            found[f"{name}.ln{number}.w"] = norm.weight
            found[f"{name}.ln{number}.b"] = norm.bias
        found[f"{name}.mlp.W_in"] = block.mlp_in.weight.T
        found[f"{name}.mlp.b_in"] = block.mlp_in.bias
        found[f"{name}.mlp.W_out"] = block.mlp_out.weight.T
        found[f"{name}.mlp.b_out"] = block.mlp_out.bias
    return {key: value.contiguous() for key, value in found.items()}


def operations(methods):
    """Floating point operations of `ablate_heads` for a prompt: matrix products alone."""
    d, positions = SHAPE.d_model, LENGTH - 1
    attention = 2 * d * 4 * d + 4 * positions * d
    mlp, logits = 2 * 2 * d * 4 * d, 2 * d * SHAPE.vocabulary
    whole = SHAPE.layers * (attention + mlp)
    variants = 0
    for layer in range(SHAPE.layers):
        later = (SHAPE.layers - 1 - layer) * (attention + mlp)
        variants += SHAPE.heads * (2 * SHAPE.d_head * d + mlp + later + logits)
    means = whole if "mean" in methods else 0
    return positions * (whole + logits + len(methods) * variants + means)


def timed(run):
    clock, processor = time.perf_counter(), time.process_time()
    result = run()
    return result, np.array([time.perf_counter() - clock, time.process_time() - processor])


def product_rate():
    """FLOP/s of a matrix product on the threads in use, by the faster of torch's two libraries."""
    rows, depth, columns = PRODUCT
    one, two = torch.randn(rows, depth), torch.randn(depth, columns)
    best = np.zeros(2)
    for library in ("ieee", "float32"):
        with products("float32", torch.device("cpu")):
            if library == "ieee":
                torch.backends.mkldnn.matmul.fp32_precision = "ieee"
            one @ two
            _, times = timed(lambda: [one @ two for _ in range(20)])
        best = np.maximum(best, 20 * 2 * rows * depth * columns / times)
    return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=32, help="prompts this project is timed on")
    parser.add_argument("--few", type=int, default=2, help="prompts the published loop is timed on")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    keep_freed_memory()  # as the rule does; it serves both sides
    model = Transformer(SHAPE)
    model.initialise(0)
    model.eval().requires_grad_(False)
    drawn = np.random.default_rng(0).integers(1, SHAPE.vocabulary, (PROMPTS, LENGTH))
    drawn[:, 0] = BOS
    prompts = drawn.tolist()[: chosen.prompts]
    sides, scale = {}, {}
    if importlib.util.find_spec("transformer_lens"):
        published = importlib.import_module("baselines.published_ablation")
        hooked = published.model(8, 8, SHAPE.d_model, SHAPE.context, SHAPE.vocabulary)
        hooked.load_state_dict(hooked_weights(model), strict=False)
        places, few = list(np.ndindex(SHAPE.layers, SHAPE.heads)), prompts[: chosen.few]

        def loop():
            with torch.inference_mode():
                found = [published.ablated_nll(hooked, few, *place) for place in places]
            return np.reshape(found, (SHAPE.layers, SHAPE.heads))

        sides["published"], scale["published"] = loop, PROMPTS / chosen.few
        ours = ablate_heads(copy.deepcopy(model), few, BOS, ["zero"])
        difference = np.abs(loop() - ours.ablated["zero"]).max() / ours.tokens
    else:
        print("transformer-lens is not installed: its side is left out\n", file=sys.stderr)
    for methods in (["zero"], ["zero", "mean"]):
        name = " and ".join(methods)
        sides[name] = lambda methods=methods: ablate_heads(model, prompts, BOS, methods)
        scale[name] = PROMPTS / chosen.prompts
    best, rate = {}, np.zeros(2)
    for _ in range(chosen.repeat):
        for name, run in sides.items():
            rate = np.maximum(rate, product_rate())
            best[name] = np.minimum(timed(run)[1] * scale[name], best.get(name, np.inf))
    report(chosen, best, rate)
    if "published" in best:
        print(f"\nThe losses of both sides differ by at most {difference:.1e} nats a token.")


def report(chosen, best, rate):
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}; ", end="")
    print(f"{chosen.threads} thread{'s' if chosen.threads > 1 else ''}.\n")
    print(
        "| ablating 64 heads, 100 prompts of 51 tokens | clock | processors | ratio (clock) ",
        end="",
    )
    print("| ratio (processors) | GFLOP/s | of the machine's |")
    print("|---|---|---|---|---|---|---|")
    if "published" in best:
        clock, processor = best["published"]
        cells = f"{clock:.0f} s | {processor:.0f} s | 1 | 1 | | |"
        print(f"| TransformerLens, a forward pass per head ({chosen.few} prompts timed) | {cells}")
    for name in ("zero", "zero and mean"):
        clock, processor = best[name]
        ratios = best["published"] / best[name] if "published" in best else [np.nan] * 2
        speed = PROMPTS * operations(name.split(" and ")) / best[name]
        cells = f"{clock:.0f} s | {processor:.0f} s | {ratios[0]:.1f} | {ratios[1]:.1f}"
        cells += f" | {speed[1] / 1e9:.0f} | {(speed / rate)[1]:.0%} |"
        print(f"| this project, {name} | {cells}")
    print(
        f"\nThe machine's speed: {rate[1] / 1e9:.0f} GFLOP/s, a product of {PRODUCT[0]} x ", end=""
    )
    print(f"{PRODUCT[1]} and {PRODUCT[1]} x {PRODUCT[2]}. GFLOP/s are by processor time and count ")
    print("matrix products alone, as this project does them.")


if __name__ == "__main__":
    main()
