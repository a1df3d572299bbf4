"""What a model must offer to be cached and ablated, whoever trained it.

`model.Transformer` offers it for models of the study's kind, `adapters.ForeignModel` for those
that the library `transformers` runs (docs/models.md, "Models trained elsewhere").
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from .model import LayerTrace


class TracedShape(Protocol):
    """The sizes of a model."""

    @property
    def layers(self) -> int:
        """Number of layers L."""

    @property
    def heads(self) -> int:
        """Query heads of a layer H; several may share one head of keys and values."""

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""

    @property
    def d_head(self) -> int:
        """Width of one head's values."""

    @property
    def context(self) -> int:
        """Positions the model can take, the beginning token included."""

    @property
    def vocabulary(self) -> int:
        """Number of token ids the model knows."""


class TracedBlock(Protocol):
    """One layer."""

    def __call__(self, x: Tensor) -> Tensor:
        """The residual stream after this layer, [batch, position, d_model], from that before."""

    def pattern_and_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads do.

        Args:
            x: the residual stream before this layer, [batch, position, d_model].

        Returns:
            pattern [batch, head, query, key] and z [batch, head, query, d_head], the heads'
            outputs before the output projection; one a query head.
        """

    def resume(self, x: Tensor, z: Tensor) -> Tensor:
        """The residual stream after this layer if its heads' output is `z`.

        Args:
            x: the residual stream before this layer, [batch, position, d_model].
            z: what goes into the output projection, [batch, head, query, d_head].
        """


class TracedModel(Protocol):
    """A causal language model that can be run layer by layer."""

    @property
    def shape(self) -> TracedShape:
        """Its sizes."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    @property
    def blocks(self) -> Sequence[TracedBlock]:
        """Its layers, in order."""

    def modules(self) -> Iterator[nn.Module]:
        """Its modules, linear layers among them."""

    def to(self, device: torch.device) -> Self:
        """The model, moved to a device."""

    def start(self, tokens: Tensor) -> Tensor:
        """The residual stream before the first layer, from token ids [batch, position]."""

    def stream(self, tokens: Tensor) -> Tensor:
        """The residual stream after the last layer, from token ids [batch, position]."""

    def logits(self, x: Tensor) -> Tensor:
        """Logits [..., vocabulary] from the residual stream after the last layer [..., d_model]."""

    def trace(self, tokens: Tensor) -> Iterator[LayerTrace]:
        """What each layer does, from token ids [batch, position]."""

    def fold_value_biases(self) -> None:
        """Move value biases into the output bias; the model's function does not change."""
