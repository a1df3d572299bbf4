"""How matrices are multiplied: `training.precision` (docs/methods.md, "Numerics").

float32   float32 products everywhere (the study's recipe).
tf32      on CUDA, products of float32 matrices with ten bits of mantissa; float32 elsewhere.
bfloat16  forward and backward products in bfloat16 (autocast); weights, optimiser, softmax and
          loss stay float32, and so do the evaluations.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from operator import matmul

import torch
from torch import Tensor, nn

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
def inference(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Run a model without gradients, in float32 products, while the block runs.

    On the CPU its linear layers multiply by weights laid out as oneDNN reads them, once instead
    of for every product, and add the bias on the way (docs/benchmarks.md, "Caching"). The weights
    must not change meanwhile.

    Args:
        modules: of the model, which is on its device.
        device: where it runs.
    """
    packed = []
    with torch.inference_mode(), products("float32", device):
        if device.type == "cpu" and packing_is_exact():
            packed = [module for module in modules if _can_be_packed(module)]
        try:
            for layer in packed:
                layer.forward = PackedLinear(layer)
            yield
        finally:
            for layer in packed:
                del layer.forward


def _can_be_packed(module: nn.Module) -> bool:
    return type(module) is nn.Linear and module.weight.dtype == torch.float32


class PackedLinear:
    """What a linear layer computes, by a packed copy of its weights that the first call makes."""

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
    before = _CPU.fp32_precision
    _CPU.fp32_precision = "bf16"
    try:
        return _is_float32(matmul) and _is_float32(matmul, batch=(2,))
    finally:
        _CPU.fp32_precision = before


@cache
def packing_is_exact() -> bool:
    """Whether packed weights can be multiplied here, and are so in float32 inside `products`.

    They are not part of what torch promises to other programs, and not every build has them.
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
    """Whether products of matrices are as near to the truth as float32 comes."""
    generator = torch.Generator().manual_seed(0)
    for size in (8, 64, 512):
        left, right = torch.randn(2, *batch, size, size, generator=generator)
        true = left.double() @ right.double()
        # float32 errs by about 1e-7 of the norm here, tf32 by 5e-4, bfloat16 by 4e-3.
        if (multiply(left, right) - true).norm() > 1e-5 * true.norm():
            return False
    return True
