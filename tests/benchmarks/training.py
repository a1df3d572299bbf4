"""Training speed beside a nanoGPT-style loop and TransformerLens; prints a table in Markdown.

    python tests/benchmarks/training.py            # CPU, and the GPU where there is one
    python tests/benchmarks/training.py --repeat 5 --only cpu

Run it in an environment of its own: pip install -r envs/lock.txt -r envs/benchmark.txt. Without
transformer-lens that side is left out. All processes are started first; then every repetition
lets each side train in turn, so that a machine's moods meet all of them. A side's time is its
shortest. On the CPU each side is measured as one process with every thread and as one process a
core with one thread each; the better of the two counts.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import yaml

HERE = Path(__file__).resolve().parent
DEFAULT = {"layers": 4, "heads": 8, "d_model": 64, "context": 128, "vocabulary": 1024}
L8_H8 = {"layers": 8, "heads": 8, "d_model": 512, "context": 1024, "vocabulary": 48262}
GPT2_SMALL = {"layers": 12, "heads": 12, "d_model": 768, "context": 1024, "vocabulary": 50257}
NAMES = {
    "ours": "this project",
    "nanogpt_style": "nanoGPT-style loop",
    "transformer_lens": "TransformerLens 3.9.0",
}


def flops_per_token(shape):
    """Model FLOPs of training per token: 6 N for products with weights, and attention's own.

    N leaves out embedding and position tables, which are looked up. Attention counts as 12 L d T,
    the full square, as is usual, whatever a kernel skips.
    """
    layers, d_model = shape["layers"], shape["d_model"]
    weights = layers * 12 * d_model**2 + d_model * shape["vocabulary"]
    return 6 * weights + 12 * layers * d_model * shape["context"]


@dataclass
class Arrangement:
    """Processes of one side that run at the same time, and what they managed."""

    label: str
    processes: int
    threads: int
    spec: dict
    steps: int
    running: list = field(default_factory=list)
    rates: list = field(default_factory=list)
    processor_rates: list = field(default_factory=list)
    memory: int = 0

    def start(self):
        spec = json.dumps({**self.spec, "threads": self.threads})
        command = [sys.executable, str(HERE / "worker.py"), spec]
        modules = os.pathsep.join([str(HERE), str(HERE.parents[1] / "scripts")])
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
            "PYTHONPATH": modules,
        }
        self.running = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            for _ in range(self.processes)
        ]
        for one in self.running:
            answer = one.stdout.readline().strip()
            while answer not in ("ready", ""):
                answer = one.stdout.readline().strip()
            if not answer:
                self.stop()
                print(f"{self.label}: could not be run here; left out", file=sys.stderr)
                return False
        return True

    def measure(self):
        """Steps a second of all processes together, once."""
        for one in self.running:
            print(self.steps, file=one.stdin, flush=True)
        answers = [one.stdout.readline().split() for one in self.running]
        self.rates.append(sum(self.steps / float(seconds) for seconds, _, _ in answers))
        used = sum(float(processor) for _, processor, _ in answers)
        self.processor_rates.append(self.steps * len(answers) / used)
        self.memory = max(int(memory) for _, _, memory in answers)

    def stop(self):
        for one in self.running:
            one.stdin.close()
            one.wait()

    @property
    def best(self):
        return max(self.rates)


def measured(arrangements, repeat):
    """Run all arrangements in turn, `repeat` times; those that could be started.

    Prints to stderr what each repetition found, so that a long run can be watched.
    """
    started = [one for one in arrangements if one.start()]
    for number in range(1, repeat + 1):
        for one in started:
            one.measure()
            shown = f"{one.label}, {one.processes} x {one.threads}"
            print(f"{number}/{repeat} {shown}: {one.rates[-1]:.2f} steps/s", file=sys.stderr)
    for one in started:
        one.stop()
    return started


def cpu(path, repeat, steps):
    """The default size on the CPU."""
    cores = os.cpu_count()
    split = [(1, cores), (cores, 1)] if cores > 1 else [(1, 1)]
    modes = [("ours", "float32"), ("ours", "bfloat16"), ("nanogpt_style", "float32")]
    modes += [("transformer_lens", "float32")] if has_transformer_lens() else []
    arrangements = []
    for processes, threads in split:
        spec = {"size": 1536, "dtype": "float32", "device": "cpu"}
        arrangements.append(Arrangement("GEMM", processes, threads, spec, 5))
        for side, precision in modes:
            spec = loop_spec(side, path, DEFAULT, 16, "cpu", precision, None)
            label = f"{NAMES[side]}, {precision}"
            arrangements.append(Arrangement(label, processes, threads, spec, steps))
    done = measured(arrangements, repeat)
    gemms = [one for one in done if one.label == "GEMM"]
    peak = max(one.best for one in gemms) * 2 * 1536**3
    refit = yaml.safe_load((HERE.parents[1] / "config.yaml").read_text())["training"]["steps"]
    print(f"\nCPU, {cores} cores. 4 layers, d_model 64, 8 heads, context 128, vocabulary 1,024,")
    print(
        f"batch 16; a refit has {refit} steps. Peak: {peak / 1e9:.0f} GFLOP/s (float32, 1,536).\n"
    )
    print(
        "| training | processes x threads | tokens/s | MFU | refits per hour | ratio "
        "| tokens per processor second | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|")
    rows = [one for one in done if one.label != "GEMM"]
    ours = f"{NAMES['ours']}, float32"
    for one in rows:
        tokens = one.best * 16 * 128
        per_processor = max(one.processor_rates)
        print(
            f"| {one.label} | {one.processes} x {one.threads} | {tokens:,.0f} "
            f"| {tokens * flops_per_token(DEFAULT) / peak:.0%} | {one.best / refit * 3600:.0f} "
            f"| {best_of(rows, ours, 'rates') / best_of(rows, one.label, 'rates'):.2f} "
            f"| {per_processor * 16 * 128:,.0f} | "
            f"{best_of(rows, ours, 'processor_rates') / per_processor:.2f} |"
        )
    print("\nRatios: this project's float32 over the side, each at its better arrangement; and of")
    print("processor time, which other work on the machine disturbs less.")


def best_of(rows, label, rates):
    return max(max(getattr(one, rates)) for one in rows if one.label == label)


def gpu(path, repeat, steps):
    """The paper's l8_h8 and GPT-2 small on a CUDA GPU."""
    if not torch.cuda.is_available():
        print("\nGPU: there is no CUDA GPU here; l8_h8 and GPT-2 small were not measured.")
        return
    spec = {"size": 8192, "dtype": "bfloat16", "device": "cuda"}
    (gemm,) = measured([Arrangement("GEMM", 1, 1, spec, 20)], repeat)
    peak = gemm.best * 2 * 8192**3
    print(f"\nGPU: {torch.cuda.get_device_name()}. Peak: {peak / 1e12:.0f} TFLOP/s, bfloat16.")
    for name, shape, large in (("l8_h8", L8_H8, 32), ("GPT-2 small", GPT2_SMALL, 16)):
        print(f"\n{name}\n\n| training | batch | at once | tokens/s | MFU | GB | ratio |")
        print("|---|---|---|---|---|---|---|")
        base = None
        # One at a time: each must have the card's memory to itself.
        for side, precision, compiled, batch, at_once in gpu_configurations(large):
            if side == "transformer_lens" and not has_transformer_lens():
                continue
            spec = loop_spec(side, path, shape, batch, "cuda", precision, compiled)
            label = f"{NAMES[side]}, {precision}{', ' + str(compiled) if compiled else ''}"
            for one in measured([Arrangement(label, at_once, 1, spec, steps)], repeat):
                tokens = one.best * batch * shape["context"]
                base = base or tokens
                mfu = tokens * flops_per_token(shape) / peak
                gigabytes = one.memory * at_once / 1e9
                print(
                    f"| {label} | {batch} | {at_once} | {tokens:,.0f} | {mfu:.0%} "
                    f"| {gigabytes:.1f} | {tokens / base:.1f} |",
                    flush=True,
                )
    print("\nRatio: tokens/s over the first row.")


def gpu_configurations(large):
    """Side, precision, compilation, batch, processes at once; the published loop first."""
    yield "transformer_lens", "float32", None, 5, 1
    yield "ours", "float32", None, 5, 1
    yield "ours", "tf32", None, 5, 1
    yield "ours", "bfloat16", None, 5, 1
    for batch in (5, large):
        yield "ours", "bfloat16", "default", batch, 1
        yield "ours", "bfloat16", "cudagraphs", batch, 1
        yield "nanogpt_style", "bfloat16", "default", batch, 1
    yield "ours", "bfloat16", "default", 5, 2
    yield "ours", "bfloat16", "default", 5, 4


def loop_spec(side, path, shape, batch, device, precision, compiled):
    mlp = {"mlp": True} if side == "ours" else {}
    return {
        "side": side,
        "path": str(path),
        "shape": {**shape, **mlp},
        "batch": batch,
        "device": device,
        "precision": precision,
        "compiled": compiled,
    }


def has_transformer_lens():
    return importlib.util.find_spec("transformer_lens") is not None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="steps a repetition")
    parser.add_argument("--only", choices=["cpu", "gpu"])
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {cpu_name()}")
    if not has_transformer_lens():
        print("transformer-lens is not installed: that side is left out")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokens.bin")
        ids = np.random.default_rng(0).integers(1, 1024, 3_000_000, dtype=np.uint16)
        ids.tofile(path)
        if arguments.only != "gpu":
            cpu(path, arguments.repeat, arguments.steps)
        if arguments.only != "cpu":
            gpu(path, arguments.repeat, arguments.steps)


def cpu_name():
    """Vendor, family and model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    found = dict(line.split(":", 1) for line in lines[:10] if ":" in line)
    return " ".join(value.strip() for key, value in found.items() if key.strip() == "model name")


if __name__ == "__main__":
    main()
