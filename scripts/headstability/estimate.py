"""What a study takes before it is started: jobs, files, disk, operations, time.

Formulas of docs/models.md, "Estimate"; the tests compare them with finished runs.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .costs import block_flops, forward_flops, training_flops, unembedding_flops
from .estimated_sizes import (
    FIXED,
    SIDECAR,
    Condition,
    cache_bytes,
    checkpoint_bytes,
    similarity_bytes,
    summary_bytes,
    table_bytes,
)
from .files import read_json
from .jobs import expected_files, job_count
from .schema_data import BpeTokenizer, DataCorpus, HeldOutPrompts
from .shape import Shape
from .study import Study
from .triangles import triangle_entries

# Rules whose jobs leave a benchmark.
BENCHMARKED = {"tokens", "train", "cache", "similarity", "stability", "ablation", "evaluate"}
BENCHMARKED |= {"prefixes", "residual_similarity", "adjust", "role_scores", "meta_sne_table"}
BENCHMARKED |= {"role_stability"}
# Files that have their hash in a file beside them.
_WITH_SIDECAR = (".csv", ".pdf", ".png", ".md", "documents.jsonl", "tokenizer.json")
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
# Products of the patterns of a condition that adjusting takes, beside those of similarity: shifted
# prompts, halves, centred and sink-free patterns.
_ADJUSTING = 10
# Lengths of prefixes where the config names none, as far as prompts go.
_LENGTHS = (5, 10, 20, 30, 40, 50)


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


class Estimate:
    """What a study takes, stage by stage."""

    def __init__(self, study: Study) -> None:
        """Work out the sizes everything follows from."""
        self.study, config = study, study.config
        self.context = config.training.context
        self.vocabulary = self._vocabulary()
        width = np.interp(math.log2(self.vocabulary), np.log2(_VOCABULARIES), _CHARACTERS)
        self.corpus = _corpus_characters(study, width)
        self.tokens = round(self.corpus / width)
        self.conditions = self._conditions()

    def stages(self) -> list[Stage]:
        """Every stage that makes something, in the order of the rules."""
        found: dict[str, list[str]] = {}
        for path, rule in expected_files(self.study, deleted=True):
            found.setdefault(rule, []).append(path)
        return [self._stage(rule, paths) for rule, paths in found.items()]

    def _stage(self, rule: str, paths: list[str]) -> Stage:
        jobs = job_count(self.study, rule, paths)
        kept = paths if rule != "cache" or self.study.config.caches.keep else []
        size = sum(self._size(path) for path in kept)
        hashed = sum(path.endswith(_WITH_SIDECAR) for path in kept)
        benchmarks = jobs if rule in BENCHMARKED else 0
        size += hashed * SIDECAR + jobs * FIXED[".log"] + benchmarks * FIXED[".tsv"]
        files = len(kept) + hashed + jobs + benchmarks
        operations = {
            "train": self._training,
            "import_weights": self._importing,
            "cache": lambda: jobs / len(self._cells("cache")) * self._caching(),
            "ablation": self._ablation,
            "similarity": lambda: self._comparing(across=True),
            "prefixes": self._comparing,
            "adjust": lambda: _ADJUSTING * self._comparing(),
            "residual_similarity": self._streams,
            "evaluate": self._evaluating,
        }.get(rule, lambda: 0.0)()
        return Stage(rule, jobs, files, size, operations)

    def _size(self, path: str) -> int:
        name = Path(path).name
        large = {
            "documents.jsonl": self._documents_bytes,
            "train.bin": lambda: self._split_bytes(1 - self.study.config.corpus.held_out),
            "held_out.bin": lambda: self._split_bytes(self.study.config.corpus.held_out),
            "tokenizer.json": lambda: 50 * self.vocabulary,
        }
        if name in large:
            return round(large[name]())
        inside = path.removeprefix(f"{self.study.paths.root}/").split("/")
        if inside[0] in ("cells", "conditions"):
            return self._measured(path, self.conditions[f"{inside[1]}/{inside[2]}"])
        if inside[0] == "tables":
            by_name = {name: [one] for name, one in self.conditions.items()}
            return summary_bytes("/".join(inside[1:]).removesuffix(".csv"), by_name)
        return FIXED[Path(path).suffix]

    def _measured(self, path: str, condition: Condition) -> int:
        """Size of a file of a cell or condition."""
        shape, name = condition.shape, Path(path).name
        if name == "similarity.zarr.zip":
            return similarity_bytes(shape, condition.refits, condition.prompts)
        if name.endswith(".zarr.zip"):
            return cache_bytes(shape, self._lengths(name.split(".")[0]), condition.streams)
        if name.endswith(".safetensors"):
            return checkpoint_bytes(shape)
        return table_bytes(path, condition) if name.endswith(".csv") else FIXED[Path(path).suffix]

    def _documents_bytes(self) -> float:
        tokenised = getattr(self.study.config.corpus, "tokenised", False)
        return self.tokens * (len(str(self.vocabulary)) + 1.5) if tokenised else 1.01 * self.corpus

    def _split_bytes(self, share: float) -> float:
        return self.tokens * share * (2 if self.vocabulary <= 2**16 else 4)

    def _conditions(self) -> dict[str, Condition]:
        """What is measured of every condition, by its place in paths."""
        study, config = self.study, self.study.config
        prompts = self._lengths(config.stability.prompts)
        lengths = config.prompt_lengths.tokens or [n for n in _LENGTHS if n < max(prompts)]
        return {
            f"{one['architecture']}/wd{one['weight_decay']}": Condition(
                shape=self._shape(one["architecture"]),
                refits=len(study.refits),
                prompts=len(prompts),
                lengths=len(lengths),
                methods=len(config.ablation.methods),
                texts=1 + len(config.perplexity.texts),
                streams=len(config.residual.streams),
                steps=study.steps // config.training.log_every + 1,
            )
            for one in study.conditions()
        }

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
        path = Path(getattr(chosen, "path", ""))
        size = path.stat().st_size if path.is_file() else 22_000
        return [51] * max(1, size // 210)

    def _shape(self, architecture: str) -> Shape:
        one = self.study.config.architectures[architecture]
        return Shape(one.layers, one.heads, one.d_model, one.mlp, self.context, self.vocabulary)

    def _cells(self, rule: str) -> list[Shape]:
        """The shape of every cell a rule makes."""
        count = len(self.study.refits) * len(self.study.weight_decays)
        return [self._shape(name) for name in self.study.architectures_of(rule)] * count

    def _forward(self, rule: str) -> list[float]:
        """Operations a token of every cell a rule makes, in rows of the context."""
        return [forward_flops(shape, self.context) for shape in self._cells(rule)]

    def _evaluated_rows(self) -> int:
        rows = self.tokens * self.study.config.corpus.held_out / (self.context - 1)
        return int(min(self.study.config.training.held_out_rows, max(1, rows)))

    def _training(self) -> float:
        training = self.study.config.training
        seen = self.study.steps * training.batch * self.context
        evaluations = 1 + math.ceil(self.study.steps / training.evaluate_every)
        judged = evaluations * self._evaluated_rows() * self.context
        return sum(training_flops(shape, seen, judged) for shape in self._cells("train"))

    def _importing(self) -> float:
        judged = self._evaluated_rows() * self.context
        return judged * sum(self._forward("import_weights"))

    def _caching(self) -> float:
        lengths = self._lengths(self.study.config.stability.prompts)
        return sum(
            length * shape.layers * block_flops(shape, length)
            for shape in self._cells("cache")
            for length in lengths
        )

    def _ablation(self) -> float:
        config = self.study.config.ablation
        held_out = config.text == "held_out"
        lengths = [self.context] * config.held_out_rows if held_out else self._lengths(config.text)
        total = 0.0
        for shape in self._cells("ablation"):
            # Of every head of layer l the layers from l on are run again, and the unembedding.
            runs = shape.heads * shape.layers * len(config.methods)
            layers = runs * (shape.layers + 1) / 2
            for length in lengths:
                block = layers * block_flops(shape, length)
                total += length * (block + runs * unembedding_flops(shape))
        return total

    def _comparing(self, across: bool = False) -> float:
        """Products of the patterns of all heads within layers, and across layers, too."""
        lengths = self._lengths(self.study.config.stability.prompts)
        entries = sum(map(triangle_entries, lengths))
        return sum(
            2.0 * (c.refits * c.shape.heads) ** 2 * entries * layers
            for c in self.conditions.values()
            for layers in (c.shape.layers, *([c.shape.layers**2] if across else []))
        )

    def _streams(self) -> float:
        """Kernels of every refit, and products of those of all pairs, of all positions."""
        positions = sum(self._lengths(self.study.config.stability.prompts))
        return sum(
            2.0 * positions**2 * c.refits * (c.shape.d_model + c.refits) * c.shape.layers
            for c in self.conditions.values()
        )

    def _evaluating(self) -> float:
        tokens = self.tokens * self.study.config.corpus.held_out
        return tokens * sum(self._forward("evaluate"))


def _corpus_characters(study: Study, width: float) -> float:
    """Characters of the corpus; `width` is how many a token stands for."""
    files = [Path(path) for path in study.corpus_files()]
    if files:
        # Compressed text takes about a third.
        packed = {".gz", ".bz2", ".xz", ".zst", ".parquet"}
        return sum(
            path.stat().st_size * (3 if path.suffix in packed else 1)
            for path in files
            if path.exists()
        )
    if isinstance(study.config.corpus, DataCorpus):  # of the hub: one epoch of it
        training = study.config.training
        return study.steps * training.batch * training.context * width
    return _CORPUS_CHARACTERS


def measured_speed(seconds: float = 0.3) -> float:
    """Operations a second of one core of this machine in float32 matrix products of PyTorch."""
    import torch  # noqa: PLC0415 - slow to import, and of a named device nothing is measured

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one = torch.ones((512, 512))
    one @ one
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        one @ one
        count += 1
    elapsed = time.perf_counter() - started
    torch.set_num_threads(threads)
    return 2 * 512**3 * count / elapsed


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
