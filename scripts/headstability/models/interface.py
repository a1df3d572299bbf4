"""The interface of models to caches and ablation; `Transformer` and `ForeignModel` implement it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .shape import ForeignShape, Shape


class LayerTrace(NamedTuple):
    """What one layer does with a batch."""

    pattern: Tensor  # [batch, head, query, key], one for each query head
    z: Tensor  # head outputs before W_O, value bias included, [batch, head, query, d_head]
    resid_pre: Tensor  # the residual stream before the layer, [batch, position, d_model]
    attention_out: Tensor  # what attention adds to it, b_O included, [batch, position, d_model]
    resid_mid: Tensor  # the residual stream after attention, [batch, position, d_model]


class Layer(Protocol):
    """One layer of a model."""

    def __call__(self, x: Tensor) -> Tensor:
        """The residual stream after this layer, [batch, position, d_model], from that before."""

    def pattern_and_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pattern [batch, head, query, key] and z [batch, head, query, d_head] by query head.

        `x` is the residual stream before this layer, [batch, position, d_model]. z is a head's
        output before the output projection.
        """

    def resume(self, x: Tensor, z: Tensor) -> Tensor:
        """The residual stream after this layer if its heads' output is `z`.

        `x` [batch, position, d_model] is the stream before it; `z` is [batch, head, query, d_head].
        """

    def fold_value_biases(self) -> None:
        """Move value biases into the output bias: b_O += sum_h b_V[h] W_O[h]; b_V = 0."""

    def matrices(self) -> Mapping[str, Tensor]:
        """Weight matrices [out, in] by the study's names: W_Q, W_K, W_V, W_O, W_in, W_out.

        Heads that share keys and values share W_K and W_V, which count once. W_in of a gated MLP is
        its gate and its up projection together; without an MLP there are no W_in and W_out.
        """


class LanguageModel(nn.Module):
    """A causal language model that can be run layer by layer."""

    shape: Shape | ForeignShape
    blocks: Sequence[Layer]  # in order

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def start(self, tokens: Tensor) -> Tensor:
        """The residual stream before the first layer, from token ids [batch, position]."""
        raise NotImplementedError

    def logits(self, x: Tensor) -> Tensor:
        """Logits [..., vocabulary] from the residual stream after the last layer [..., d_model]."""
        raise NotImplementedError

    def trace(self, tokens: Tensor) -> Iterator[LayerTrace]:
        """Run the model on token ids [batch, position], with explicit attention, layer by layer."""
        raise NotImplementedError

    def stream(self, tokens: Tensor) -> Tensor:
        """The residual stream after the last layer, from token ids [batch, position]."""
        x = self.start(tokens)
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, position, vocabulary] from token ids [batch, position]."""
        return self.logits(self.stream(tokens))

    def fold_value_biases(self) -> None:
        """Move value biases into output biases: z then holds only what heads read from context.

        A pattern's rows sum to 1, so the function of the model is unchanged.
        """
        with torch.no_grad():
            for block in self.blocks:
                block.fold_value_biases()
