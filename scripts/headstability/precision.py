"""How matrices are multiplied: `training.precision` (docs/methods.md, "Numerics").

float32   float32 products everywhere (the study's recipe).
tf32      on CUDA, products of float32 matrices with ten bits of mantissa; float32 elsewhere.
bfloat16  forward and backward products in bfloat16 (autocast); weights, optimiser, softmax and
          loss stay float32, and so do the evaluations.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

# Switches of torch, by device: the type float32 matrices are multiplied in.
_CPU, _CUDA = torch.backends.mkldnn.matmul, torch.backends.cuda.matmul


@contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices as `precision` says while the block runs.

    On the CPU, float32 products go through oneDNN where it is exact: PyTorch's own choice, MKL,
    leaves half of a processor unused that is not Intel's.
    """
    if device.type == "cuda":
        switch, value = _CUDA, "tf32" if precision == "tf32" else "ieee"
    else:
        switch, value = _CPU, "bf16" if onednn_is_exact() else "ieee"
    before = switch.fp32_precision
    switch.fp32_precision = value
    try:
        yield
    finally:
        switch.fp32_precision = before


@contextmanager
def forward_pass(precision: str, device: torch.device) -> Iterator[None]:
    """Run a forward pass of training: under autocast for bfloat16."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def product_type(precision: str) -> torch.dtype:
    """The type of products outside autocast."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@cache
def onednn_is_exact() -> bool:
    """Whether oneDNN, allowed to round factors to bfloat16, multiplies in float32 all the same.

    The permission is the only way torch offers to choose oneDNN for float32. Processors without
    bfloat16 tiles ignore it; elsewhere it must not be given. So it is tried out.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    before = _CPU.fp32_precision
    _CPU.fp32_precision = "bf16"
    try:
        for size in (8, 64, 512):
            left, right = (torch.randn(2, size, size, generator=generator) for _ in range(2))
            wanted = left.double() @ right.double()
            pairs = (left @ right, wanted), (left[0] @ right[0], wanted[0])
            # float32 errs by about 1e-7 of the norms here, tf32 by 5e-4, bfloat16 by 4e-3.
            if any((found - true).norm() > 1e-5 * true.norm() for found, true in pairs):
                return False
    finally:
        _CPU.fp32_precision = before
    return True
