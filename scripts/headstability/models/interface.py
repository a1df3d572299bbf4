"""What a model offers to be cached and ablated, whoever trained it.

`transformer.Transformer` is a model of the study's own kind, `foreign.ForeignModel` one that the
library `transformers` runs (docs/models.md, "Models trained elsewhere").
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .shape import ForeignShape, Shape


class LayerTrace(NamedTuple):
    """What one layer does with a batch.

    Attributes:
        pattern: attention, [batch, head, query, key]; one per query head.
        z: head outputs before W_O, value bias included, [batch, head, query, d_head].
        resid_pre: the residual stream before the layer, [batch, position, d_model].
        attention_out: what attention adds to it, b_O included, [batch, position, d_model].
        resid_mid: the stream after attention, [batch, position, d_model].
    """

    pattern: Tensor
    z: Tensor
    resid_pre: Tensor
    attention_out: Tensor
    resid_mid: Tensor


class Layer(Protocol):
    """One layer of a model."""

    def __call__(self, x: Tensor) -> Tensor:
        """The residual stream after this layer, [batch, position, d_model], from that before."""

    def pattern_and_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads do.

        Args:
            x: the residual stream before this layer, [batch, position, d_model].

        Returns:
            pattern [batch, head, query, key] and z [batch, head, query, d_head], the heads'
            outputs before the output projection; one of each per query head.
        """

    def resume(self, x: Tensor, z: Tensor) -> Tensor:
        """The residual stream after this layer if its heads' output is `z`.

        Args:
            x: the residual stream before this layer, [batch, position, d_model].
            z: what goes into the output projection, [batch, head, query, d_head].
        """

    def fold_value_biases(self) -> None:
        """Move value biases into the output bias: b_O += sum_h b_V[h] W_O[h]; b_V = 0."""

    def matrices(self) -> Mapping[str, Tensor]:
        """Weight matrices [out, in] by the study's names: W_Q, W_K, W_V, W_O, W_in, W_out.

        Heads that share keys and values share their W_K and W_V, which count once. W_in of a gated
        MLP is its gate and its up projection together; without an MLP there are no W_in and W_out.
        """


class LanguageModel(nn.Module):
    """A causal language model that can be run layer by layer.

    Attributes:
        shape: its sizes.
        blocks: its layers, in order.
    """

    shape: Shape | ForeignShape
    blocks: Sequence[Layer]

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
        """Run the model layer by layer with explicit attention.

        Args:
            tokens: ids, [batch, position].

        Yields:
            What each layer does; the next one runs when it is asked for.
        """
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
        """Move value biases into output biases.

        A pattern's rows sum to 1, so the function is unchanged; z then holds only what a head
        reads from the context.
        """
        with torch.no_grad():
            for block in self.blocks:
                block.fold_value_biases()
