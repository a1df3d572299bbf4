"""A minimal training loop as a competent researcher writes it. Frozen: not to be tuned or mended.

Linear layers, fused causal attention, fused AdamW, batches by random offsets into a memory map;
on a GPU autocast, compilation and pinned copies. The shape is the study's (exact GELU, biases,
untied unembedding), so that both sides do the same arithmetic.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        x = x + self.attention(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, layers, heads, width, context, vocabulary):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, 0, 0.8 / math.sqrt(width))

    def forward(self, idx, targets):
        x = self.tokens(idx) + self.positions(torch.arange(idx.shape[1], device=idx.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.ln(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


class Loop:
    """Call `step()`; a step is `batch` windows of `context` tokens."""

    def __init__(self, path, shape, batch, device, precision, compiled):
        torch.manual_seed(0)
        np.random.seed(0)
        self.path, self.batch, self.context, self.device = path, batch, shape["context"], device
        self.model = GPT(
            shape["layers"],
            shape["heads"],
            shape["d_model"],
            shape["context"],
            shape["vocabulary"],
        ).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.autocast = torch.autocast(
            device, dtype=torch.bfloat16, enabled=precision == "bfloat16"
        )
        if device == "cuda" and precision != "float32":
            torch.backends.cuda.matmul.fp32_precision = "tf32"
        self.forward = torch.compile(self.model) if compiled else self.model

    def get_batch(self):
        data = np.memmap(self.path, dtype=np.uint16, mode="r")
        starts = torch.randint(len(data) - self.context - 1, (self.batch,))
        windows = [data[i : i + self.context + 1].astype(np.int64) for i in starts]
        both = torch.stack([torch.from_numpy(window) for window in windows])
        if self.device == "cuda":
            both = both.pin_memory().to(self.device, non_blocking=True)
        return both[:, :-1], both[:, 1:]

    def step(self):
        x, y = self.get_batch()
        with self.autocast:
            loss = self.forward(x, y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
