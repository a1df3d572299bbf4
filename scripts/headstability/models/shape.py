"""The shape of a transformer and the sizes of its weights, without PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from math import prod
from typing import Any

Sizes = dict[str, tuple[int, ...]]

# Largest size in bytes of a layer's attention patterns that training on the CPU keeps. PyTorch's
# fused CPU kernel works in blocks of one head and 32 queries, which is slow: explicit patterns take
# a third to three quarters of its time at every size measured (docs/benchmarks.md).
LARGEST_PATTERNS = 2**27
# Bytes of float32 logits held at once: they fit the CPU's caches, and keep a GPU's kernels busy.
LOGIT_BYTES = {"cpu": 2**20, "cuda": 2**29}


@dataclass(frozen=True)
class Shape:
    """The shape of a transformer: layers L, heads H, d_head = d_model / H, d_mlp = 4 d_model.

    A field with a default is a switch added later. Checkpoints that lack it, and models in the
    formats of other tools, have the default.
    """

    layers: int
    heads: int
    d_model: int
    mlp: bool
    context: int
    vocabulary: int
    activation: str = "gelu"  # of the MLP: gelu (exact, by erf) or gelu_tanh (its approximation)

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.d_model // self.heads

    @cached_property
    def layer_tensors(self) -> Sizes:
        """The sizes of one layer's weights, by their names in `transformer.Block`."""
        width = self.d_model
        tensors = _norm("norm_attention", width)
        tensors |= _linear("attention.qkv", width, 3 * width)
        tensors |= _linear("attention.out", width, width)
        if self.mlp:
            tensors |= _norm("norm_mlp", width)
            tensors |= _linear("mlp_in", width, 4 * width)
            tensors |= _linear("mlp_out", 4 * width, width)
        return tensors

    @cached_property
    def outer_tensors(self) -> Sizes:
        """The sizes of the weights outside of layers, by their names in `Transformer`."""
        return {
            "embed.weight": (self.vocabulary, self.d_model),
            "position.weight": (self.context, self.d_model),
            **_norm("norm_final", self.d_model),
            **_linear("unembed", self.d_model, self.vocabulary),
        }

    @property
    def tensors(self) -> int:
        """The number of weight tensors."""
        return len(self.outer_tensors) + self.layers * len(self.layer_tensors)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        in_layer = sum(map(prod, self.layer_tensors.values()))
        return sum(map(prod, self.outer_tensors.values())) + self.layers * in_layer


@dataclass(frozen=True)
class ForeignShape:
    """The sizes of a model of the library `transformers`; `heads` counts query heads."""

    layers: int
    heads: int
    d_model: int
    d_head: int
    context: int
    vocabulary: int


def in_order(shape: Mapping[str, Any]) -> list[str]:
    """Those names of the fields of `Shape` that `shape` has, in order."""
    return [field.name for field in fields(Shape) if field.name in shape]


def own_switches(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Switches not at their default, except for the activation, which other tools have too."""
    return {
        name: value
        for name, value in shape.items()
        if name != "activation" and value != getattr(Shape, name, value)
    }


def _linear(name: str, width_in: int, width_out: int) -> Sizes:
    return {f"{name}.weight": (width_out, width_in), f"{name}.bias": (width_out,)}


def _norm(name: str, width: int) -> Sizes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
