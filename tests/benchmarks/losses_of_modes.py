"""Whether the faster settings of training change the loss; prints a table in Markdown.

    python tests/benchmarks/losses_of_modes.py --corpus results/default/corpus

Trains `--seeds` refits with each setting on the tokens of a study, of the shape of the default
study's `shallow` architecture. Differences are taken seed by seed: initial weights and order of
rows are then the same, and only the setting differs. Beside them stands what a seed is worth.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from headstability.models.shape import Shape
from headstability.text.token_files import open_tokens
from headstability.training.loop import Trainer
from headstability.training.settings import Cell, Recipe

MODES = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "float32, microbatch 4": {"microbatch": 4},
    "float32, compile: default": {"compile": "default"},
    "bfloat16, compile: default": {"precision": "bfloat16", "compile": "default"},
}
CUDA_MODES = {
    "tf32": {"precision": "tf32"},
    "bfloat16, compile: cudagraphs": {"precision": "bfloat16", "compile": "cudagraphs"},
}


def held_out_loss(train, held_out, mode, seed, steps):
    """The last held-out loss, in nats, of one refit."""
    recipe = Recipe(
        **{
            "steps": steps,
            "batch": 16,
            "context": 128,
            "learning_rate": 2e-3,
            "warmup_steps": 0,
            "schedule": "constant",
            "betas": (0.9, 0.999),
            "clip": None,
            "precision": "float32",
            "compile": None,
            "microbatch": None,
            "device": "auto",
            "log_every": steps,
            "evaluate_every": steps,
            "held_out_rows": 384,
            **mode,
        }
    )
    shape = Shape(2, 8, 64, True, 128, train.vocabulary)
    cell = Cell(f"seed{seed}", shape, recipe, 0.1, seed, seed, [steps])
    with tempfile.TemporaryDirectory() as folder:
        one = Trainer(cell, train, held_out, Path(folder), "benchmark")
        one.run(1e9, lambda: None)
        return one.table[-1][-1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, default=Path("results/default/corpus"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    manifest, folder = arguments.corpus / "tokens.json", arguments.corpus
    train = open_tokens(manifest, folder / "train.bin", "train")
    held_out = open_tokens(manifest, folder / "held_out.bin", "held_out")
    modes = MODES | (CUDA_MODES if torch.cuda.is_available() else {})
    device = "CUDA" if torch.cuda.is_available() else "CPU"
    seeds, steps = arguments.seeds, arguments.steps
    print(f"torch {torch.__version__}, {device}. 2 layers, 8 heads, d_model 64, {steps} steps,")
    print(f"seeds 1 to {seeds}; held-out loss in nats.\n")
    print("| setting | mean loss | sd over seeds | mean difference | largest | within seed noise |")
    print("|---|---|---|---|---|---|")
    reference = None
    for name, mode in modes.items():
        losses = np.array(
            [held_out_loss(train, held_out, mode, seed, steps) for seed in range(1, seeds + 1)]
        )
        if reference is None:
            reference = losses
        difference = losses - reference
        noise = reference.std(ddof=1)
        verdict = "yes" if abs(difference).max() < noise else "no"
        print(
            f"| {name} | {losses.mean():.4f} | {losses.std(ddof=1):.4f} "
            f"| {difference.mean():+.4f} | {abs(difference).max():.4f} | {verdict} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
