"""What a study takes before it is started: jobs, files, disk, operations, time.

Formulas of docs/methods.md, "Estimate"; the tests compare them with finished runs.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .caches import ENTRY_CHUNK
from .files import read_json
from .jobs import expected_files, job_count
from .schema import Architecture
from .schema_data import BpeTokenizer, HeldOutPrompts
from .study import Study

# Rules whose jobs leave a benchmark.
BENCHMARKED = {"tokens", "train", "cache", "stability", "ablation"}
# Files that have their hash in a file beside them, of about this size.
_WITH_SIDECAR, _SIDECAR_BYTES = (".csv", ".pdf", ".png"), 80
# Bytes of a small output, log or benchmark: measured on the default study.
_SMALL = {".csv": 4000, ".pdf": 22_000, ".png": 75_000, ".json": 1500, ".log": 300, ".tsv": 130}
# Seconds a job takes to start and end, measured on the default study.
JOB_SECONDS = 3.0
# Share of a device's rated speed that training of such models reaches.
UTILISATION = 0.35
# Rated float32 matrix products (TF32 where there is one), operations a second.
DEVICES = {"h100": 495e12, "h200": 495e12, "a100": 156e12, "v100": 15.7e12, "rtx4090": 83e12}
# Characters a token stands for, by size of the vocabulary: measured on the default corpus for the
# small ones, usual values for the large ones.
_VOCABULARIES, _CHARACTERS = (256, 300, 1024, 8192, 50257), (1.0, 1.51, 2.92, 3.9, 4.4)
_CORPUS_CHARACTERS = 11_900_000
_CHECKPOINT_HEADER, _TENSOR_HEADER, _CACHE_HEADER = 2000, 90, 30_000


@dataclass(frozen=True)
class Stage:
    """What the jobs of one rule take together.

    Attributes:
        rule: its name.
        jobs: how many run.
        files: they leave, with hashes, logs and benchmarks.
        size: of these, bytes.
        operations: floating point operations.
    """

    rule: str
    jobs: int
    files: int
    size: int
    operations: float

    def seconds(self, speed: float) -> float:
        """Time on one device that does `speed` operations a second, start-up included."""
        return self.jobs * JOB_SECONDS + self.operations / speed


def parameters(shape: Architecture, context: int, vocabulary: int) -> int:
    """Number of weights and biases of a transformer of this project."""
    d = shape.d_model
    block = 4 * d * d + 4 * d + 2 * d
    block += 8 * d * d + 5 * d + 2 * d if shape.mlp else 0
    return 2 * vocabulary * d + vocabulary + context * d + 2 * d + shape.layers * block


def forward_operations(
    shape: Architecture, length: int, vocabulary: int, layers: float | None = None
) -> float:
    """Operations per token of a forward pass over rows of `length` positions.

    Args:
        shape: of the transformer.
        length: positions in a row.
        vocabulary: token ids, all scored by the unembedding.
        layers: how many layers are run; None: all.
    """
    d = shape.d_model
    block = 2 * (12 if shape.mlp else 4) * d * d + 4 * length * d
    return (shape.layers if layers is None else layers) * block + 2 * vocabulary * d


def cache_bytes(shape: Architecture, lengths: list[int]) -> int:
    """Size of a cache of prompts of these lengths, BOS included (docs/methods.md, "Cache")."""
    entries = sum(length * (length + 1) // 2 for length in lengths)
    chunk = min(ENTRY_CHUNK, entries)
    stored = math.ceil(entries / chunk) * chunk  # an incomplete last chunk is filled up
    positions = sum(lengths)
    floats = shape.layers * (shape.heads * stored + 2 * positions * shape.d_model)
    return 4 * floats + 16 * entries + 16 * positions + _CACHE_HEADER


def checkpoint_bytes(shape: Architecture, context: int, vocabulary: int) -> int:
    """Size of a checkpoint."""
    tensors = 6 + shape.layers * (10 if shape.mlp else 6)
    header = _CHECKPOINT_HEADER + tensors * _TENSOR_HEADER
    return 4 * parameters(shape, context, vocabulary) + header


class Estimate:
    """What a study takes, stage by stage."""

    def __init__(self, study: Study) -> None:
        """Work out the sizes everything follows from."""
        self.study, config = study, study.config
        self.context = config.training.context
        self.vocabulary = self._vocabulary()
        self.corpus = _corpus_characters(study)
        self.tokens = round(
            self.corpus / np.interp(math.log2(self.vocabulary), np.log2(_VOCABULARIES), _CHARACTERS)
        )

    def stages(self) -> list[Stage]:
        """Every stage that makes something, in the order of the rules."""
        found: dict[str, list[str]] = {}
        for path, rule in expected_files(self.study):
            found.setdefault(rule, []).append(path)
        return [self._stage(rule, paths) for rule, paths in found.items()]

    def _stage(self, rule: str, paths: list[str]) -> Stage:
        jobs = job_count(self.study, rule, paths)
        size = sum(self._size(rule, path) for path in paths)
        hashed = sum(path.endswith(_WITH_SIDECAR) for path in paths)
        benchmarks = jobs if rule in BENCHMARKED else 0
        size += hashed * _SIDECAR_BYTES + jobs * _SMALL[".log"] + benchmarks * _SMALL[".tsv"]
        files = len(paths) + hashed + jobs + benchmarks
        operations = {
            "train": self._training,
            "import_weights": self._importing,
            "cache": self._caching,
            "ablation": self._ablation,
            "stability": self._stability,
        }.get(rule, lambda: 0.0)()
        return Stage(rule, jobs, files, size, operations)

    def _size(self, rule: str, path: str) -> int:
        name = Path(path).name
        large = {
            "documents.jsonl": lambda: 1.01 * self.corpus,
            "train.bin": lambda: self._split_bytes(1 - self.study.config.corpus.held_out),
            "held_out.bin": lambda: self._split_bytes(self.study.config.corpus.held_out),
            "tokenizer.json": lambda: 50 * self.vocabulary,
            "matches.csv": lambda: self._matches_bytes(path),
        }
        if name in large:
            return round(large[name]())
        if path.endswith((".safetensors", ".zarr.zip")):
            shape = self.study.config.architectures[
                path.split("/cells/")[1].split("/", maxsplit=1)[0]
            ]
            if path.endswith(".zarr.zip"):
                return cache_bytes(shape, self._lengths(name.split(".")[0]))
            return checkpoint_bytes(shape, self.context, self.vocabulary)
        if rule == "heads_table":
            return 110 * sum(shape.layers * shape.heads for shape in self._cells("ablation"))
        return _SMALL[Path(path).suffix]

    def _split_bytes(self, share: float) -> float:
        return self.tokens * share * (2 if self.vocabulary <= 2**16 else 4)

    def _matches_bytes(self, path: str) -> int:
        shape = self.study.config.architectures[
            path.split("/conditions/")[1].split("/", maxsplit=1)[0]
        ]
        refits = len(self.study.refits)
        return 36 * refits * (refits - 1) * shape.layers * shape.heads

    def _vocabulary(self) -> int:
        manifest = Path(self.study.paths.tokens)
        if manifest.exists():
            return read_json(manifest)["vocabulary"]
        tokenizer = self.study.config.tokenizer
        return tokenizer.vocabulary if isinstance(tokenizer, BpeTokenizer) else _VOCABULARIES[-1]

    def _lengths(self, name: str) -> list[int]:
        chosen = self.study.config.prompts[name]
        if isinstance(chosen, HeldOutPrompts):
            return [chosen.tokens + 1] * chosen.count
        # A file's prompts are not read yet: four characters a token, one prompt a 200 characters.
        size = Path(chosen.path).stat().st_size if Path(chosen.path).exists() else 22_000
        return [51] * max(1, size // 210)

    def _cells(self, rule: str) -> list[Architecture]:
        """The shape of every cell a rule makes."""
        count = len(self.study.refits) * len(self.study.weight_decays)
        shapes = self.study.config.architectures
        return [shapes[name] for name in self.study.architectures_of(rule)] * count

    def _evaluated_rows(self) -> int:
        rows = self.tokens * self.study.config.corpus.held_out / (self.context - 1)
        return int(min(self.study.config.training.held_out_rows, max(1, rows)))

    def _training(self) -> float:
        training = self.study.config.training
        seen = self.study.steps * training.batch * self.context
        evaluations = 1 + math.ceil(self.study.steps / training.evaluate_every)
        judged = evaluations * self._evaluated_rows() * self.context
        return sum(
            (3 * seen + judged) * forward_operations(shape, self.context, self.vocabulary)
            for shape in self._cells("train")
        )

    def _importing(self) -> float:
        judged = self._evaluated_rows() * self.context
        return sum(
            judged * forward_operations(shape, self.context, self.vocabulary)
            for shape in self._cells("import_weights")
        )

    def _caching(self) -> float:
        lengths = self._lengths(self.study.config.stability.prompts)
        return sum(
            length * forward_operations(shape, length, 0)
            for shape in self._cells("cache")
            for length in lengths
        )

    def _ablation(self) -> float:
        text = self.study.config.ablation.text
        rows = self.study.config.ablation.held_out_rows
        lengths = [self.context] * rows if text == "held_out" else self._lengths(text)
        total = 0.0
        for shape in self._cells("ablation"):
            # Of every head of layer l the layers from l on are run again, and the unembedding.
            runs = shape.heads * shape.layers
            layers = shape.heads * shape.layers * (shape.layers + 1) / 2
            for length in lengths:
                block = forward_operations(shape, length, 0, layers)
                total += length * (block + runs * 2 * self.vocabulary * shape.d_model)
        return total

    def _stability(self) -> float:
        lengths = self._lengths(self.study.config.stability.prompts)
        entries = sum(length * (length + 1) // 2 for length in lengths)
        refits, decays = len(self.study.refits), len(self.study.weight_decays)
        return decays * sum(
            2.0 * (refits * shape.heads) ** 2 * entries * shape.layers
            for shape in self.study.config.architectures.values()
        )


def _corpus_characters(study: Study) -> int:
    files = [Path(path) for path in study.corpus_files()]
    if not files:
        return _CORPUS_CHARACTERS
    return sum(path.stat().st_size for path in files if path.exists())


def measured_speed(seconds: float = 0.3) -> float:
    """Operations a second of one core of this machine in float32 matrix products."""
    one = np.ones((512, 512), dtype=np.float32)
    one @ one
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        one @ one
        count += 1
    return 2 * 512**3 * count / (time.perf_counter() - started)


def as_text(stages: list[Stage], speed: float, workers: int, device: str) -> str:
    """A table of the stages and their sum.

    Args:
        stages: of `Estimate.stages`.
        speed: operations a second of one worker.
        workers: how many jobs run side by side.
        device: what a worker is, for the headline.
    """
    lines = [f"On {workers} x {device}, {speed / 1e9:,.0f} GFLOP/s each:", ""]
    lines.append(f"{'stage':<26}{'jobs':>8}{'files':>8}{'disk':>11}{'FLOP':>10}{'time':>11}")
    rows = [(s.rule, s.jobs, s.files, s.size, s.operations, s.seconds(speed)) for s in stages]
    total = ("together", *(sum(row[i] for row in rows) for i in range(1, 6)))
    for rule, jobs, files, size, operations, seconds in [*rows, total]:
        shown = f"{operations:.1e}" if operations else "-"
        lines.append(
            f"{rule:<26}{jobs:>8}{files:>8}{_amount(size):>11}{shown:>10}"
            f"{_duration(seconds / workers):>11}"
        )
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


def speed_of(device: str | None) -> tuple[float, str]:
    """Operations a second of a worker, and what it is.

    Args:
        device: a name of DEVICES; None: one core of this machine, measured.
    """
    if device is None:
        return measured_speed() * UTILISATION, "core of this machine"
    return DEVICES[device] * UTILISATION, device.upper()


def totals(stages: list[Stage]) -> Mapping[str, int]:
    """Files and bytes of a whole study."""
    return {"files": sum(s.files for s in stages), "size": sum(s.size for s in stages)}
