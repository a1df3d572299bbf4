"""How matrices are multiplied: `training.precision` (docs/methods.md, "Numerics").

float32   all products in float32 (the study's recipe).
tf32      on CUDA, products of float32 matrices with a mantissa of ten bits; float32 elsewhere.
bfloat16  forward and backward products in bfloat16 (autocast); weights, optimiser, softmax, loss
          and evaluations stay float32.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from operator import matmul

import torch
from torch import Tensor, nn

# Torch's switches for the type in which float32 matrices are multiplied.
_CPU, _CUDA = torch.backends.mkldnn.matmul, torch.backends.cuda.matmul


@contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices as `precision` says while the block runs.

    On the CPU, float32 products use oneDNN where it is exact. MKL, PyTorch's choice, uses only half
    of what processors not made by Intel can do.
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
def inference(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Run a model that is on `device` without gradients, in float32, while the block runs.

    On the CPU, the linear layers among its `modules` pack their weights once for oneDNN, instead of
    once for each product (docs/benchmarks.md, "Caching"). The weights must not change meanwhile.
    """
    packed = []
    with torch.inference_mode(), products("float32", device):
        if device.type == "cpu" and packing_is_exact():
            linear = [module for module in modules if type(module) is nn.Linear]
            packed = [layer for layer in linear if layer.weight.dtype == torch.float32]
        try:
            for layer in packed:
                layer.forward = PackedLinear(layer)
            yield
        finally:
            for layer in packed:
                del layer.forward


class PackedLinear:
    """A linear layer that multiplies by packed weights, which its first call makes."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight, self.bias = layer.weight, layer.bias
        self.packed: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """The layer's output [..., d_out] from its input [..., d_in]."""
        if self.packed is None:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


@contextmanager
def forward_pass(precision: str, device: torch.device) -> Iterator[None]:
    """Run a forward pass of training: under autocast for bfloat16."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def product_type(precision: str) -> torch.dtype:
    """The type of matrix products outside autocast."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@cache
def onednn_is_exact() -> bool:
    """Whether oneDNN still multiplies in float32 when it is allowed to round factors to bfloat16.

    This permission is torch's only way to choose oneDNN for float32. Processors without bfloat16
    tiles ignore it. Others do not, and must not be given it, so the product of two matrices is
    tested.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    before = _CPU.fp32_precision
    _CPU.fp32_precision = "bf16"
    try:
        return _is_float32(matmul) and _is_float32(matmul, batch=(2,))
    finally:
        _CPU.fp32_precision = before


@cache
def packing_is_exact() -> bool:
    """Whether multiplication by packed weights works here, and in float32 inside `products`.

    It is not part of torch's public interface, and some builds lack it.
    """

    def multiply(left: Tensor, right: Tensor) -> Tensor:
        size = len(right)
        layer = nn.utils.skip_init(nn.Linear, size, size)  # draws no random numbers
        layer.weight.copy_(right.T)
        layer.bias.zero_()
        return PackedLinear(layer)(left)

    try:
        with torch.inference_mode(), products("float32", torch.device("cpu")):
            return _is_float32(multiply)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _is_float32(multiply: Callable[[Tensor, Tensor], Tensor], batch: tuple[int, ...] = ()) -> bool:
    """Whether matrix products have the accuracy of float32."""
    generator = torch.Generator().manual_seed(0)
    for size in (8, 64, 512):
        left, right = torch.randn(2, *batch, size, size, generator=generator)
        true = left.double() @ right.double()
        # float32 errs by about 1e-7 of the norm here, tf32 by 5e-4, bfloat16 by 4e-3.
        if (multiply(left, right) - true).norm() > 1e-5 * true.norm():
            return False
    return True
