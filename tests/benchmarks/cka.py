"""Speed of residual CKA beside the published way; prints a table in Markdown.

    python tests/benchmarks/cka.py                  # 10 refits, one layer
    python tests/benchmarks/cka.py --study          # 50 refits x 8 layers, this project alone

Sides take turns in one process; a side's time is its shortest, by the clock and of processors.
The published way is timed on one pair: its time grows in proportion to them. Streams are random,
of the paper's l8_h8 shape (width 512) on 100 prompts: 5,275 positions, with a massive vector where
each prompt has BOS.
"""

import argparse
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "scripts"), str(HERE)]

from baselines import published_cka  # noqa: E402

from headstability.measures.cka import cka  # noqa: E402

POSITIONS, WIDTH, REFITS = 5275, 512, 10


def stream(seed):
    """One refit's stream: a shared signal, turned, with noise; massive at BOS."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(10**6).normal(size=(POSITIONS, 64)).astype(np.float32)
    x = shared @ rng.normal(size=(64, WIDTH)).astype(np.float32) / 8
    x += rng.normal(size=(POSITIONS, WIDTH)).astype(np.float32)
    x[:: POSITIONS // 100] = 100 * rng.normal(size=WIDTH)
    return x - x.mean(axis=1, keepdims=True)


def timed(run):
    clock, processor = time.perf_counter(), time.process_time()
    result = run()
    return result, time.perf_counter() - clock, time.process_time() - processor


def fastest(repeat, sides):
    """The result of each side and its shortest times (clock, processors), turn by turn."""
    best = {}
    for _ in range(repeat):
        for name, run in sides.items():
            result, *times = timed(run)
            best[name] = (result, np.minimum(times, best[name][1] if name in best else np.inf))
    return best


def compare(repeat, threads):
    streams = [stream(seed) for seed in range(REFITS)]
    sides = {
        "published": lambda: published_cka.cka(streams[0], streams[1]),
        "rbf": lambda: cka(streams, threads, ["rbf"]),
        "all": lambda: cka(streams, threads),
    }
    found = fastest(repeat, sides)
    difference = abs(found["rbf"][0]["rbf", "biased"][0, 1] - found["published"][0])
    pairs = REFITS * (REFITS - 1) // 2
    published = found["published"][1]
    print("| CKA of 10 refits, one layer, 5,275 positions | clock | processors | ratio | ratio |")
    print("|---|---|---|---|---|")
    for label, count in (
        (f"published loop, {REFITS**2} ordered pairs (one timed)", REFITS**2),
        (f"published code, {pairs} pairs (one timed)", pairs),
    ):
        ours = found["rbf"][1]
        ratios = " | ".join(f"{value:.0f}" for value in published * count / ours)
        clock, processor = published * count
        print(f"| {label} | {clock:.0f} s | {processor:.0f} s | {ratios} |")
    for label, name in (
        ("this project, RBF, both estimators", "rbf"),
        ("this project, RBF and linear, both estimators", "all"),
    ):
        clock, processor = found[name][1]
        print(f"| {label} | {clock:.2f} s | {processor:.2f} s | | |")
    print("\nThe published loop takes every ordered pair, each refit with itself included. Ratios:")
    print("of that line to this project's RBF, by the clock and of processor time.")
    print(f"{threads} threads. Difference from the published code: {difference:.1e}.")


def study(threads, layers=8, refits=50):
    clock = time.perf_counter()
    for layer in range(layers):
        cka((stream(100 * layer + refit) for refit in range(refits)), threads)
    seconds = time.perf_counter() - clock
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{refits} refits x {layers} layers, all pairs, both kernels, both estimators, streams")
    print(f"made on the way: {seconds:.0f} s, {memory:.2f} GiB at most.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--study", action="store_true")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, NumPy {np.__version__}.\n")
    study(chosen.threads) if chosen.study else compare(chosen.repeat, chosen.threads)


if __name__ == "__main__":
    main()
