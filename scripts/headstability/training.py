"""Training one cell, resumable to the bit (docs/methods.md, "Training")."""

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from .checkpoints import read_tensors, weights_sha256, write_tensors, write_weights
from .errors import UserError
from .files import atomic_path
from .model import Shape, Transformer, choose_device
from .progress import Progress
from .tokens import TokenFile

COLUMNS = ["step", "tokens", "loss", "learning_rate", "gradient_norm", "held_out_loss"]
# Saving may take this share of the time at most, however large the model is.
SAVING_SHARE = 0.02


@dataclass(frozen=True)
class Recipe:
    """The `training` section of the config, with the number of steps settled."""

    steps: int
    batch: int
    context: int
    learning_rate: float
    warmup_steps: int
    schedule: str
    betas: tuple[float, float]
    clip: float | None
    precision: str
    device: str
    log_every: int
    evaluate_every: int
    held_out_rows: int


@dataclass
class Cell:
    """What is trained: one refit of one condition.

    Attributes:
        name: for messages, as in its path.
        shape: the transformer.
        recipe: how it is trained.
        weight_decay: 0 trains with Adam, above 0 with AdamW.
        init_seed: seed of the initial weights.
        data_seed: seed of the order of rows.
        checkpoint_steps: steps whose weights are kept; the last step is one of them.
    """

    name: str
    shape: Shape
    recipe: Recipe
    weight_decay: float
    init_seed: int
    data_seed: int
    checkpoint_steps: list[int]


@dataclass
class Trained:
    """What training leaves: the table, weights by step (files), their hashes and provenance."""

    table: pd.DataFrame
    weights: dict[int, Path]
    sha256: dict[int, str]
    provenance: dict[str, Any]


class RowOrder:
    """The order of training rows: a seeded permutation per epoch, without replacement in it."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self.epoch, self.order = -1, np.empty(0, dtype=np.int64)

    def batch(self, step: int, size: int) -> np.ndarray:
        """Row indices of a step (counted from 0); a function of seed and step alone."""
        places = np.arange(step * size, (step + 1) * size)
        return np.array([self._row(*divmod(int(place), self.rows)) for place in places])

    def _row(self, epoch: int, place: int) -> int:
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        return self.order[place]


def learning_rate(step: int, recipe: Recipe) -> float:
    """The learning rate of a step (counted from 0): linear warm-up, then the schedule."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.learning_rate
    span = max(1, recipe.steps - recipe.warmup_steps)
    left = 1 - (step - recipe.warmup_steps) / span
    if recipe.schedule == "linear":
        return recipe.learning_rate * left
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (1 - left)))


def make_optimizer(model: Transformer, weight_decay: float, recipe: Recipe) -> torch.optim.Adam:
    """Adam for weight decay 0, AdamW (decoupled, on every parameter) above; fused kernels."""
    kind = torch.optim.AdamW if weight_decay > 0 else torch.optim.Adam
    return kind(
        model.parameters(),
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=weight_decay,
        fused=True,
    )


def mean_loss(model: Transformer, rows: np.ndarray, bos: int, batch: int) -> float:
    """Mean negative log-likelihood in nats over predicted tokens; BOS is never a target.

    Args:
        model: the model.
        rows: token ids [n, context], BOS first.
        bos: id of the beginning token, which also stands between documents.
        batch: rows per forward pass.
    """
    device = model.embed.weight.device
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            tokens = torch.from_numpy(rows[start : start + batch]).to(device)
            targets = tokens[:, 1:].flatten()
            logits = model.predict(tokens).flatten(0, 1).float()
            losses = F.cross_entropy(logits, targets, ignore_index=bos, reduction="none")
            total += losses.double().sum().item()
            count += int((targets != bos).sum())
    return total / count


class Trainer:
    """A cell in training: its weights, optimiser and table, and the folder it resumes from."""

    def __init__(
        self, cell: Cell, train: TokenFile, held_out: TokenFile, folder: Path, fingerprint: str
    ) -> None:
        """Set up the cell at step 0, or where an interrupted run of the same job left it.

        Args:
            cell: what to train.
            train: training tokens.
            held_out: held-out tokens.
            folder: where the state and kept weights of an unfinished cell lie.
            fingerprint: identifies code and specification; a state with another is not resumed.

        Raises:
            UserError: the corpus holds less than one batch or no held-out row.
        """
        self.cell, self.recipe, self.train_tokens = cell, cell.recipe, train
        self.folder, self.bos = folder, train.bos
        self.device = choose_device(cell.recipe.device)
        self.fingerprint = f"{fingerprint} {train.sha256} {held_out.sha256} {self.device.type}"
        self._check_size(train, held_out)
        self.order = RowOrder(train.row_count(self.recipe.context), cell.data_seed)
        self.held_out_rows = held_out.spread_rows(self.recipe.held_out_rows, self.recipe.context)
        self.model = Transformer(cell.shape)
        self.model.initialise(cell.init_seed)
        self.initial_sha256 = weights_sha256(self.model.state_dict())
        self.model.to(self.device)
        self.optimizer = make_optimizer(self.model, cell.weight_decay, self.recipe)
        self.step = 0
        self.table: list[list[float]] = []
        self.torch_versions = {torch.__version__}
        self.kept: dict[int, str] = {}

    def _check_size(self, train: TokenFile, held_out: TokenFile) -> None:
        rows = train.row_count(self.recipe.context)
        if rows < self.recipe.batch:
            raise UserError(
                f"the training split holds {rows} rows of {self.recipe.context} tokens, less than "
                f"one batch of {self.recipe.batch}: give more text, or lower training.batch or "
                "training.context"
            )
        if held_out.row_count(self.recipe.context) < 1:
            raise UserError(
                f"the held-out split holds less than one row of {self.recipe.context} tokens: "
                "give more text, raise corpus.held_out or lower training.context"
            )

    # --- state ----------------------------------------------------------------------------

    @property
    def state_path(self) -> Path:
        """The state an interrupted run resumes from."""
        return self.folder / "state.safetensors"

    def kept_path(self, step: int) -> Path:
        """Kept weights of a step, until training has ended."""
        return self.folder / f"step{step}.safetensors"

    def save(self) -> None:
        """Write the full state: weights, optimiser, table. Order and rates follow from the step."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": value for name, value in state.items()}
        rows = np.array(self.table, dtype=np.float64).reshape(-1, len(COLUMNS))
        tensors["table"] = torch.from_numpy(rows)
        header = {
            "fingerprint": self.fingerprint,
            "step": self.step,
            "kept": {str(step): sha256 for step, sha256 in self.kept.items()},
            "torch_versions": sorted(self.torch_versions),
        }
        write_tensors(self.state_path, tensors, header)

    def resume(self) -> bool:
        """Take up the saved state if there is one of this very job; True if so."""
        if not self.state_path.exists():
            return False
        try:
            tensors, header = read_tensors(self.state_path)
        except UserError as error:
            print(f"{self.cell.name}: {error}\nTraining starts again from step 0.", flush=True)
            return False
        kept = {int(step): sha256 for step, sha256 in header["kept"].items()}
        whole = all(self.kept_path(step).exists() for step in kept)
        if header["fingerprint"] != self.fingerprint or not whole:
            return False
        self.step, self.kept = header["step"], kept
        self.torch_versions |= set(header["torch_versions"])
        self.table = tensors.pop("table").tolist()
        weights = {k.removeprefix("model."): v for k, v in tensors.items() if k[:6] == "model."}
        self.model.load_state_dict(weights)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, index, field = name.split(".")
                state.setdefault(int(index), {})[field] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        return True

    # --- training -------------------------------------------------------------------------

    def run(self, save_seconds: float, should_stop: Callable[[], str | None]) -> None:
        """Train to the last step.

        Args:
            save_seconds: least time between two saved states.
            should_stop: asked after every step; its answer is the name of the signal to obey.

        Raises:
            UserError: the loss is not finite, or a stop was asked for (after saving the state).
        """
        progress = Progress(self.cell.name, self.recipe.steps, self.step)
        saved, cost = time.monotonic(), 0.0
        started, first = time.monotonic(), self.step
        if self.step == 0:
            self._keep_if_due()
            self._log(held_out_loss=self._evaluate())
        while self.step < self.recipe.steps:
            loss = self._one_step()
            self._keep_if_due()
            signal = should_stop()
            now = time.monotonic()
            if signal or now - saved > max(save_seconds, cost / SAVING_SHARE):
                self.save()
                saved = time.monotonic()
                cost = saved - now
            if signal:
                raise UserError(
                    f"{self.cell.name}: stopped by {signal} after step {self.step} of "
                    f"{self.recipe.steps}; the state is saved, run the same command again to go on"
                )
            if loss is not None:
                rate = (self.step - first) * self.recipe.batch * self.recipe.context
                rate /= max(now - started, 1e-9)
                progress.update(self.step, f"loss {loss:.3f}, {rate:,.0f} tokens/s")

    def _one_step(self) -> float | None:
        """One optimiser step; returns the loss if this step is logged."""
        recipe = self.recipe
        rate = learning_rate(self.step, recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        indices = self.order.batch(self.step, recipe.batch)
        tokens = torch.from_numpy(self.train_tokens.rows(indices, recipe.context)).to(self.device)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"
        ):
            logits = self.model.predict(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        due = self._is_due(self.step + 1, recipe.log_every)
        evaluate = self._is_due(self.step + 1, recipe.evaluate_every)
        norm = None
        if recipe.clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        elif due or evaluate:
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters()])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if not due and not evaluate:
            return None
        value = loss.item()
        held_out = self._evaluate() if evaluate else math.nan
        self._require_finite(value, held_out if evaluate else 0.0)
        self._log(value, rate, float(norm), held_out)
        return value

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.recipe.steps

    def _evaluate(self) -> float:
        return mean_loss(self.model, self.held_out_rows, self.bos, self.recipe.batch)

    def _require_finite(self, *losses: float) -> None:
        if not all(math.isfinite(loss) for loss in losses):
            raise UserError(
                f"{self.cell.name}: the loss is not finite at step {self.step} of "
                f"{self.recipe.steps}: lower training.learning_rate "
                f"({self.recipe.learning_rate}), add training.warmup_steps or set training.clip"
            )

    def _log(
        self,
        loss: float = math.nan,
        rate: float = math.nan,
        norm: float = math.nan,
        held_out_loss: float = math.nan,
    ) -> None:
        tokens = self.step * self.recipe.batch * self.recipe.context
        self.table.append([self.step, tokens, loss, rate, norm, held_out_loss])

    def _keep_if_due(self) -> None:
        if self.step in self.cell.checkpoint_steps:
            path = self.kept_path(self.step)
            self.kept[self.step] = write_weights(path, self.model, self._header())

    def _header(self) -> dict[str, Any]:
        return {
            "cell": self.cell.name,
            "step": self.step,
            "shape": asdict(self.cell.shape),
            "training": asdict(self.recipe),
            "initial_sha256": self.initial_sha256,
            "torch_versions": sorted(self.torch_versions),
            "init_seed": self.cell.init_seed,
            "data_seed": self.cell.data_seed,
            "weight_decay": self.cell.weight_decay,
        }

    def result(self) -> Trained:
        """What training left; call after `run`."""
        table = pd.DataFrame(self.table, columns=COLUMNS).astype({"step": int, "tokens": int})
        sha256 = {0: self.initial_sha256, **self.kept}
        provenance = {
            **self._header(),
            "optimizer": type(self.optimizer).__name__,
            "device": self.device.type,
            "threads": torch.get_num_threads(),
            "numpy_version": np.__version__,
            "train_tokens_sha256": self.train_tokens.sha256,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "held_out_loss": self.table[-1][-1],
            "held_out_rows": len(self.held_out_rows),
            "weights_sha256": {f"step{step}": value for step, value in sorted(sha256.items())},
        }
        weights = {step: self.kept_path(step) for step in self.kept}
        return Trained(table, weights, sha256, provenance)


def publish(kept: Path, path: Path) -> None:
    """Make kept weights appear at their final path at once, leaving the kept file in place.

    A hard link costs nothing, and the kept file serves again if Snakemake is killed before it has
    recorded the job: it then removes the outputs and starts the job anew.
    """
    with atomic_path(path) as part:
        part.unlink()
        try:
            os.link(kept, part)
        except OSError:  # a file system without hard links
            shutil.copyfile(kept, part)
