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
from torch import Tensor

from ..errors import Stopped, UserError
from ..models.checkpoints import read_tensors, weights_sha256, write_tensors, write_weights
from ..models.precision import onednn_is_exact, products
from ..models.transformer import Transformer, choose_device
from ..storage.files import atomic_path
from ..storage.progress import Progress
from ..text.token_files import TokenFile
from .batches import Batches, RowOrder
from .engine import Engine
from .loss import mean_loss
from .settings import Cell, learning_rate, make_optimizer

COLUMNS = ["step", "tokens", "loss", "learning_rate", "gradient_norm", "held_out_loss"]
# Largest share of the time that saving may take.
SAVING_SHARE = 0.02


@dataclass
class Trained:
    """What training leaves behind."""

    table: pd.DataFrame
    weights: dict[int, Path]  # by step
    sha256: dict[int, str]  # of the weights, by step
    provenance: dict[str, Any]


class Trainer:
    """A cell in training: its weights, optimiser and table, and the folder it resumes from."""

    def __init__(
        self, cell: Cell, train: TokenFile, held_out: TokenFile, folder: Path, fingerprint: str
    ) -> None:
        """Set up the cell at step 0; `resume` continues an interrupted run of the same job.

        `folder` keeps the state and weights of an unfinished cell; `fingerprint` identifies code
        and specification, and only a state with the same one is resumed. Raises UserError if the
        corpus holds less than one batch or no held-out row.
        """
        self.cell, self.recipe, self.train_tokens = cell, cell.recipe, train
        self.folder, self.bos = folder, train.bos
        self.device = choose_device(cell.recipe.device)
        self.fingerprint = f"{fingerprint} {train.sha256} {held_out.sha256} {self.device.type}"
        self._check_size(train, held_out)
        self.held_out_rows = held_out.spread_rows(self.recipe.held_out_rows, self.recipe.context)
        self.model = Transformer(cell.shape)
        self.model.initialise(cell.init_seed)
        self.initial_sha256 = weights_sha256(self.model.state_dict())
        self.model.to(self.device)
        self.optimizer = make_optimizer(self.model, cell.weight_decay, self.recipe)
        self.engine = Engine(self.model, self.optimizer, self.recipe)
        order = RowOrder(train.row_count(self.recipe.context), cell.data_seed)
        size = (self.recipe.batch, self.recipe.context, self.recipe.steps)
        self.batches = Batches(train, order, *size, self.device)
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

    @property
    def state_path(self) -> Path:
        """The state an interrupted run resumes from."""
        return self.folder / "state.safetensors"

    def kept_path(self, step: int) -> Path:
        """The weights of a step, kept here until training has ended."""
        return self.folder / f"step{step}.safetensors"

    def save(self) -> None:
        """Write weights, optimiser and table; order of rows and rates follow from the step."""
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
        """Resume from the saved state of this very job; False if there is none."""
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

    def run(self, save_seconds: float, should_stop: Callable[[], str | None]) -> None:
        """Train to the last step and save the state on the way, at least `save_seconds` apart.

        `should_stop` is asked after every step and names the signal that stops training, if any.
        Raises UserError if the loss is not finite, and Stopped, once the state is saved, if a
        signal came.
        """
        progress = Progress(self.cell.name, self.recipe.steps, self.step)
        saved, cost = time.monotonic(), 0.0
        started, first = time.monotonic(), self.step
        if self.step == 0:
            self._keep_if_due()
            self._log(math.nan, math.nan, math.nan, self._evaluate())
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
                raise Stopped(
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
        due = self._is_due(self.step + 1, recipe.log_every)
        evaluate = self._is_due(self.step + 1, recipe.evaluate_every)
        tokens = self.batches.of(self.step)
        loss, norm = self.engine.step(tokens, rate, want_norm=due or evaluate)
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
        """The held-out loss, in float32 whatever the precision of training."""
        rows = self.recipe.microbatch or self.recipe.batch
        with products("float32", self.device):
            return mean_loss(self.model, self.held_out_rows, self.bos, rows)

    def _require_finite(self, *losses: float) -> None:
        if not all(math.isfinite(loss) for loss in losses):
            raise UserError(
                f"{self.cell.name}: the loss is not finite at step {self.step} of "
                f"{self.recipe.steps}: lower training.learning_rate "
                f"({self.recipe.learning_rate}), add training.warmup_steps or set training.clip"
            )

    def _log(self, loss: float, rate: float, norm: float, held_out_loss: float) -> None:
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
        """What training left; to be called after `run`."""
        table = pd.DataFrame(self.table, columns=COLUMNS).astype({"step": int, "tokens": int})
        sha256 = {0: self.initial_sha256, **self.kept}
        provenance = {
            **self._header(),
            "optimizer": type(self.optimizer).__name__,
            "device": self.device.type,
            "threads": torch.get_num_threads(),
            "onednn_float32": self.device.type == "cpu" and onednn_is_exact(),
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
    """Make kept weights appear at their final path at once, and leave the kept file in place.

    If Snakemake is killed before it has recorded the job, it removes the outputs and starts the job
    again, which then finds the kept file. A hard link costs nothing.
    """
    with atomic_path(path) as part:
        part.unlink()
        try:
            os.link(kept, part)
        except OSError:  # a file system without hard links
            shutil.copyfile(kept, part)
