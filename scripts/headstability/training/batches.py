"""Training batches in the order of a data seed (docs/methods.md, "Corpus and tokens")."""

import numpy as np
import torch
from torch import Tensor

from ..text.token_files import TokenFile

# Tokens gathered at once: a few megabytes, so gathering takes little of a step's time.
TOKENS_AHEAD = 2**18


class RowOrder:
    """The order of training rows: a seeded permutation of all rows for each epoch."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self.epoch, self.order = -1, np.empty(0, dtype=np.int64)

    def batch(self, step: int, size: int, steps: int = 1) -> np.ndarray:
        """Rows [steps * size] of `steps` steps from `step` on, determined by seed and step."""
        place, end = step * size, (step + steps) * size
        parts = []
        while place < end:
            epoch, first = divmod(place, self.rows)
            if epoch != self.epoch:
                self.epoch = epoch
                self.order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
            parts.append(self.order[first : first + end - place])
            place += len(parts[-1])
        return np.concatenate(parts)


class Batches:
    """Batches on the device; many steps are gathered and sent together, before their use."""

    def __init__(
        self,
        tokens: TokenFile,
        order: RowOrder,
        batch: int,
        context: int,
        steps: int,
        device: torch.device,
    ) -> None:
        """Prepare batches of `batch` rows of `context` positions for steps 0 to `steps` - 1."""
        self.tokens, self.order, self.device = tokens, order, device
        self.batch, self.context, self.steps = batch, context, steps
        self.at_once = max(1, TOKENS_AHEAD // (batch * context))
        self.first, self.ready = 0, torch.empty(0)

    def of(self, step: int) -> Tensor:
        """Token ids of a step (counted from 0), int64 [batch, context], BOS in column 0."""
        if not self.first <= step < self.first + len(self.ready):
            self._gather(step)
        return self.ready[step - self.first]

    def _gather(self, step: int) -> None:
        count = min(self.at_once, self.steps - step)
        indices = self.order.batch(step, self.batch, count)
        rows = torch.from_numpy(self.tokens.rows(indices, self.context))
        if self.device.type == "cuda":
            # From pinned memory the copy runs beside the current steps.
            rows = rows.pin_memory().to(self.device, non_blocking=True)
        self.first, self.ready = step, rows.view(count, self.batch, self.context)
