"""One training process of a benchmark: it trains a side's loop when told to, and says how long.

Started by training.py with a JSON specification; reads numbers of steps from its input, one a
line, and answers each with seconds, seconds of processor time and peak memory on the device.
"""

import importlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from headstability.models.precision import products
from headstability.models.shape import Shape
from headstability.storage.machine import keep_freed_memory
from headstability.text.token_files import TokenFile
from headstability.training.loop import Trainer
from headstability.training.settings import Cell, Recipe


@dataclass
class Ours:
    """This project's training, from the Trainer that rules run, logging and all."""

    path: str
    shape: dict
    batch: int
    device: str
    precision: str
    compiled: str | None

    def __post_init__(self):
        keep_freed_memory()
        ids = np.memmap(self.path, dtype=np.uint16, mode="r")
        tokens = TokenFile(ids, 0, self.shape["vocabulary"], "benchmark")
        never = 10**9
        recipe = Recipe(
            steps=never,
            batch=self.batch,
            context=self.shape["context"],
            learning_rate=1e-3,
            warmup_steps=0,
            schedule="constant",
            betas=(0.9, 0.999),
            clip=None,
            precision=self.precision,
            compile=self.compiled,
            microbatch=None,
            device=self.device,
            log_every=10,
            evaluate_every=never,
            held_out_rows=1,
        )
        cell = Cell("benchmark", Shape(**self.shape), recipe, 0.1, 1, 1, [never])
        folder = Path(self.path).parent
        self.step = Trainer(cell, tokens, tokens, folder, "benchmark")._one_step


def loop_of(spec):
    """The loop a specification describes."""
    side = spec.pop("side")
    if side == "ours":
        return Ours(**spec)
    if side == "transformer_lens":  # which knows neither
        spec = {key: spec[key] for key in ("path", "shape", "batch", "device")}
        return importlib.import_module("baselines.transformer_lens_loop").Loop(**spec)
    return importlib.import_module("baselines.nanogpt_style").Loop(**spec)


def gemm(size, dtype, device):
    """A function that multiplies two square matrices by the fastest library at hand."""
    left, right = torch.randn(2, size, size, device=device, dtype=getattr(torch, dtype))

    def step():
        with products(
            "tf32" if dtype == "float32" and device == "cuda" else "float32", left.device
        ):
            torch.mm(left, right)

    return step


def main():
    spec = json.loads(sys.argv[1])
    torch.set_num_threads(spec.pop("threads"))
    device = spec["device"]
    step = gemm(**spec) if "size" in spec else loop_of(spec).step
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(3):
        step()
    wait()
    print("ready", flush=True)
    for line in sys.stdin:
        wait()
        started, used = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            step()
        wait()
        seconds, used = time.perf_counter() - started, time.process_time() - used
        memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        print(seconds, used, memory, flush=True)


if __name__ == "__main__":
    main()
