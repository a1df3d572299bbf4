"""What a study takes, before it is started: formulas of docs/models.md, "Estimate"."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from timeit import Timer
from typing import NamedTuple

from ..study.study import Study
from .costs import (
    SIMILARITY_HEADER,
    cache_file_bytes,
    checkpoint_bytes,
    measures_bytes,
    similarity_bytes,
)
from .graph import PlannedJob
from .job_costs import JobCosts
from .sizes import Sizes, Work

# Files that have their hash in a file beside them, and its bytes.
_WITH_SIDECAR, _SIDECAR = (".csv", ".pdf", ".png", ".md", "documents.jsonl", "tokenizer.json"), 79
# Bytes of files of one size, measured on the default study.
_FIXED = {".pdf": 23_000, ".png": 105_000, ".json": 1300, ".md": 8000, ".log": 16, ".tsv": 133}
# Seconds a job takes to start and end, measured on the default study.
JOB_SECONDS = 3.0
# Share of a device's rated speed that training of such models reaches.
UTILISATION = 0.35
# Rated float32 matrix products (TF32 where there is one), operations per second.
DEVICES = {"h100": 495e12, "h200": 495e12, "a100": 156e12, "v100": 15.7e12, "rtx4090": 83e12}

# Bytes of a row of a table, measured on finished studies, and rows of a cell or condition; rows of
# tables over several are summed. By the last parts of their paths: the first that fits counts.
_ROWS: dict[str, tuple[int, Callable[[Work], float]]] = {
    "training.csv": (36, lambda w: w.sizes.study.steps // w.config.training.log_every + 1),
    "refits.csv": (204, lambda w: w.refits),
    "stability/heads.csv": (25, lambda w: w.refits * w.heads),
    "stability/pairs.csv": (37, lambda w: w.pairs * w.shape.layers),
    "stability/matches.csv": (37, lambda w: w.pairs * w.heads),
    "stability/cross_layer.csv": (34, lambda w: w.refits * w.shape.layers**2),
    "stability/commonness.csv": (39, lambda w: w.refits * w.heads),
    "ablation": (88, lambda w: w.methods * w.heads),
    "adjusted/shared.csv": (41, lambda w: 65 * (1 + w.refits + w.groups) * w.shape.layers),
    "adjusted/identity.csv": (33, lambda w: 3 * w.pairs * w.shape.layers),
    "adjusted/heads.csv": (105, lambda w: w.refits * w.heads),
    "adjusted/matches.csv": (57, lambda w: w.pairs * w.heads),
    "adjusted/pairs.csv": (39, lambda w: 15 * w.pairs / 2 * w.shape.layers),
    "adjusted/without_prompts.csv": (27, lambda w: 8 * w.groups * w.shape.layers),
    "norms/streams.csv": (86, lambda w: w.refits * w.shape.layers),
    "norms/weights.csv": (27, lambda w: w.refits * w.shape.layers * (6 if w.shape.mlp else 4)),
    "perplexity": (39, lambda w: 1 + len(w.config.perplexity.texts)),
    "prompt_length": (45, lambda w: w.refits * len(w.prefixes) * w.shape.layers),
    "residual": (65, lambda w: w.streams * w.pairs * w.shape.layers * 2),
    "scores": (155, lambda w: 2 * w.heads),
    "roles/heads.csv": (175, lambda w: 2 * w.refits * w.heads),
    "roles/stability.csv": (60, lambda w: 12),
    "tables/heads": (115, lambda w: w.methods * w.refits * w.heads),
    "tables/roles": (179, lambda w: 2 * w.refits * w.heads),
    "tables/roles_stability": (64, lambda w: 12),
    "tables/head_atlas": (70, lambda w: 136 * min(6, 2 * w.shape.layers) * min(4, w.refits)),
    "tables/head_map": (32, lambda w: w.heads),
    "tables/pairwise": (39, lambda w: w.pairs * w.shape.layers),
    "tables/meta_sne": (60, lambda w: w.refits * w.heads),
    "tables/adjusted": (84, lambda w: 11 * w.shape.layers),
    "tables/cross_layer": (50, lambda w: (w.refits + 1) * w.shape.layers**2),
    "tables/residual": (71, lambda w: 4 * w.streams * (w.refits + 1) * w.shape.layers),
    "tables/prompt_length": (45, lambda w: len(w.prefixes) * (w.refits + 1) * w.shape.layers),
    "tables/weight_norms": (23, lambda w: 5 * (w.refits + 1)),
    "tables/stability_ablation": (63, lambda w: 2 * w.methods * (w.refits + 1) * w.shape.layers),
    "tables": (60, lambda w: 2 * (w.refits + 1) * w.shape.layers),
    "conditions": (40, lambda w: w.refits * w.heads),
    "cells": (40, lambda w: w.heads),
}


class Stage(NamedTuple):
    """What the jobs of one rule take together."""

    rule: str
    jobs: int
    files: int  # with hashes, logs and benchmarks
    size: int  # of these, bytes
    operations: float  # of matrix products

    def seconds(self, speed: float) -> float:
        """Time on one device that does `speed` operations per second, start-up included."""
        return self.jobs * JOB_SECONDS + self.operations / speed


class Estimate:
    """What a study takes, stage by stage."""

    def __init__(self, study: Study, jobs: Sequence[PlannedJob]) -> None:
        """`jobs`: all of them, including those of caches that will be deleted."""
        self.study, self.jobs, self.sizes = study, jobs, Sizes(study)
        self.costs = JobCosts(self.sizes)
        self.conditions = [Work(self.sizes, wildcards) for wildcards in study.conditions()]

    def stages(self) -> list[Stage]:
        """Every stage that makes something, in the order of the jobs."""
        by_rule = groupby(self.jobs, attrgetter("rule"))  # they are in the order of the rules
        return [self._stage(rule, list(jobs)) for rule, jobs in by_rule]

    def _stage(self, rule: str, jobs: Sequence[PlannedJob]) -> Stage:
        kept = [(path, job) for job in jobs for path in job.outputs]
        if rule == "cache" and not self.study.config.caches.keep:
            kept = []
        hashed = sum(path.endswith(_WITH_SIDECAR) for path, _ in kept)
        benchmarks = sum(job.benchmark is not None for job in jobs)
        size = sum(self._size(path, job.wildcards) for path, job in kept) + hashed * _SIDECAR
        size += len(jobs) * _FIXED[".log"] + benchmarks * _FIXED[".tsv"]
        costs = [self.costs.of(rule, job.wildcards) for job in jobs]
        files = len(kept) + hashed + len(jobs) + benchmarks
        return Stage(rule, len(jobs), files, size, sum(cost.flops for cost in costs))

    def _size(self, path: str, wildcards: Mapping[str, str]) -> int:
        """Bytes of a file of a job."""
        parts = path.split("/")[2:]
        if parts[0] == "corpus":
            return self._text_size(parts[-1])
        if path.endswith(".safetensors"):
            return checkpoint_bytes(self.sizes.shape(wildcards["architecture"]))
        if path.endswith(".zarr.zip"):
            work = Work(self.sizes, wildcards)
            if "refit" in wildcards:
                return cache_file_bytes(work.shape, work.lengths, work.streams)
            raw = path.endswith("similarity.zarr.zip")
            size = similarity_bytes if raw else measures_bytes
            return size(work.shape.layers, work.rows, work.groups) + SIMILARITY_HEADER
        if path.endswith(".csv"):
            return self._table_size(parts, wildcards)
        return _FIXED[Path(path).suffix]

    def _table_size(self, parts: Sequence[str], wildcards: Mapping[str, str]) -> int:
        names = ["/".join(parts[:2]).removesuffix(".csv"), "/".join(parts[-3::2])]
        names += reversed(parts)
        width, rows = next(_ROWS[name] for name in names if name in _ROWS)
        of = {n: wildcards[n] for n in ("architecture", "weight_decay") if n in wildcards}
        works = [work for work in self.conditions if of.items() <= work.wildcards.items()]
        return round((80 if parts[0] == "tables" else 40) + width * sum(map(rows, works)))

    def _text_size(self, name: str) -> int:
        """Bytes of a file of the corpus."""
        corpus, vocabulary = self.study.config.corpus, self.sizes.vocabulary
        text, _ = self.sizes.text
        tokens = self.sizes.tokens_of(text)
        width = 2 if vocabulary <= 2**16 else 4
        tokenised = getattr(corpus, "tokenised", False)
        sizes = {
            "documents.jsonl": tokens * (len(str(vocabulary)) + 1.5) if tokenised else 1.01 * text,
            "train.bin": tokens * (1 - corpus.held_out) * width,
            "held_out.bin": tokens * corpus.held_out * width,
            "tokenizer.json": 50 * vocabulary,
        }
        return round(sizes.get(name, _FIXED[".json"]))


def measured_speed() -> float:
    """Operations per second of one core of this machine in float32 products of PyTorch."""
    import torch  # noqa: PLC0415 - slow to import, and of a named device nothing is measured

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one = torch.ones((512, 512))
    count, seconds = Timer(lambda: one @ one).autorange()
    torch.set_num_threads(threads)
    return 2 * 512**3 * count / seconds


def speed_of(device: str | None) -> tuple[float, str]:
    """Operations per second of a device (None: one core of this machine), and its name."""
    if device is None:
        return measured_speed() * UTILISATION, "core of this machine"
    return DEVICES[device] * UTILISATION, device.upper()


def as_text(stages: Sequence[Stage], speed: float, workers: int, device: str) -> str:
    """A table of the stages and their sum; `speed`: operations per second of each worker."""
    lines = [f"On {workers} x {device}, {speed / 1e9:,.0f} GFLOP/s each:", ""]
    lines.append(f"{'stage':<26}{'jobs':>8}{'files':>8}{'disk':>11}{'FLOP':>10}{'time':>11}")
    rows = [(*stage, stage.seconds(speed)) for stage in stages]
    total = ("together", *(sum(row[i] for row in rows) for i in range(1, 6)))
    for rule, jobs, files, size, operations, seconds in [*rows, total]:
        shown = f"{operations:.1e}" if operations else "-"
        line = f"{rule:<26}{jobs:>8}{files:>8}{_amount(size):>11}{shown:>10}"
        lines.append(f"{line}{_duration(seconds / workers):>11}")
    return "\n".join(lines)


def _amount(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _duration(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:,.0f} days"
