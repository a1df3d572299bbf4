"""Training with TransformerLens as its users do. Frozen: not to be tuned or mended.

HookedTransformer of the study's shape with its own loss, AdamW with PyTorch's defaults, float32,
batches of shuffled rows from a DataLoader, the loss read at every step for a progress bar.
"""

import numpy as np
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig


class Rows(torch.utils.data.Dataset):
    def __init__(self, path, context):
        self.ids, self.context = np.memmap(path, dtype=np.uint16, mode="r"), context

    def __len__(self):
        return len(self.ids) // self.context

    def __getitem__(self, index):
        row = self.ids[index * self.context : (index + 1) * self.context]
        return torch.from_numpy(row.astype(np.int64))


class Loop:
    """Call `step()`; a step is `batch` rows of `context` tokens."""

    def __init__(self, path, shape, batch, device):
        torch.manual_seed(0)
        self.device = device
        config = HookedTransformerConfig(
            n_layers=shape["layers"],
            n_heads=shape["heads"],
            d_model=shape["d_model"],
            d_head=shape["d_model"] // shape["heads"],
            d_mlp=4 * shape["d_model"],
            n_ctx=shape["context"],
            d_vocab=shape["vocabulary"],
            act_fn="gelu",
            normalization_type="LN",
            device=device,
            seed=0,
        )
        self.model = HookedTransformer(config)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.loader = torch.utils.data.DataLoader(
            Rows(path, shape["context"]), batch_size=batch, shuffle=True, drop_last=True
        )
        self.batches = iter(())
        self.shown = 0.0

    def step(self):
        tokens = next(self.batches, None)
        if tokens is None:
            self.batches = iter(self.loader)
            tokens = next(self.batches)
        loss = self.model(tokens.to(self.device), return_type="loss")
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.shown = loss.item()
