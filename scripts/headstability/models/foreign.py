"""Models of the library `transformers`, run layer by layer through hooks.

The library's own eager attention computes everything. Hooks read, or replace, the input of a
layer's output projection (docs/models.md, "Models trained elsewhere"), so patterns, z and ablations
are the library's to the last bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .families import FAMILIES, out_in
from .interface import LanguageModel, LayerTrace
from .shape import ForeignShape


class _FirstLayerReached(Exception):
    """Carries the residual stream out of a forward pass that need not go on."""

    def __init__(self, stream: Tensor) -> None:
        self.stream = stream


class ForeignBlock:
    """One layer of a foreign model; see `interface.Layer`."""

    def __init__(self, model: "ForeignModel", index: int) -> None:
        self.model, self.index = model, index  # the layer's, from 0
        family = model.family
        self.layer = model.layers[index]
        self.attention = self.layer.get_submodule(family.attention)
        self.projection = self.attention.get_submodule(family.output)

    def __call__(self, x: Tensor) -> Tensor:
        """The residual stream after this layer, [batch, position, d_model], from that before."""
        arguments, named = self.model.arguments(x.shape[1])[self.index]
        output = self.layer(x, *arguments, **named)
        return output[0] if isinstance(output, tuple) else output

    def step(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run the layer and keep what happens in it.

        Returns pattern [batch, head, query, key], z [batch, head, query, d_head], what attention
        adds to the residual stream, and the residual stream after the layer.
        """
        seen: dict[str, Tensor] = {}

        def keep_z(_: nn.Module, arguments: tuple) -> None:
            seen["z"] = arguments[0]

        def keep_attention(_: nn.Module, __: tuple, output: tuple) -> None:
            seen["written"], seen["pattern"] = output[:2]

        with _hooks(
            self.projection.register_forward_pre_hook(keep_z),
            self.attention.register_forward_hook(keep_attention),
        ):
            after = self(x)
        z = seen["z"].unflatten(-1, (self.model.shape.heads, -1)).transpose(1, 2)
        return seen["pattern"], z, seen["written"], after

    def pattern_and_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pattern [batch, head, query, key] and z [batch, head, query, d_head]."""
        return self.step(x)[:2]

    def resume(self, x: Tensor, z: Tensor) -> Tensor:
        """The residual stream after this layer if its heads' output is `z`."""

        def put_z(_: nn.Module, __: tuple) -> tuple[Tensor]:
            return (z.transpose(1, 2).flatten(2),)

        with _hooks(self.projection.register_forward_pre_hook(put_z)):
            return self(x)

    def fold_value_biases(self) -> None:
        """Move this layer's value biases into its output bias."""
        shape = self.model.shape
        biases = self.model.family.by_head(self.attention, "bias", shape.d_head)
        if biases is None:
            return
        bias = biases[-1]
        # Query heads that share a value head share its bias.
        each = bias.repeat_interleave(shape.heads // len(bias), dim=0).flatten()
        written = out_in(self.projection) @ each
        if self.projection.bias is None:
            self.projection.bias = nn.Parameter(torch.zeros_like(written), requires_grad=False)
        self.projection.bias += written
        bias.zero_()

    def matrices(self) -> dict[str, Tensor]:
        """Weight matrices [out, in]; see `interface.Layer`."""
        return self.model.family.matrices(self.layer, self.model.shape.d_head)


class ForeignModel(LanguageModel):
    """A causal language model of `transformers`; see `interface.LanguageModel`."""

    def __init__(self, net: Any) -> None:
        """Wrap a ...ForCausalLM of one of `FAMILIES` that uses eager attention."""
        super().__init__()
        self.net = net.eval().requires_grad_(False)
        config = net.config
        self.family = FAMILIES[config.model_type]
        self.layers = net.get_submodule(self.family.layers)
        self.norm = net.get_submodule(self.family.norm)
        heads, width = config.num_attention_heads, config.hidden_size
        self.shape = ForeignShape(
            layers=len(self.layers),
            heads=heads,
            d_model=width,
            d_head=getattr(config, "head_dim", None) or width // heads,
            context=config.max_position_embeddings,
            vocabulary=config.vocab_size,
        )
        self._arguments: dict[int, list[tuple[tuple, dict]]] = {}

    def _apply(self, fn: Callable, recurse: bool = True) -> "ForeignModel":
        self._arguments.clear()  # masks have the old device and type
        return super()._apply(fn, recurse)

    @property
    def blocks(self) -> Sequence[ForeignBlock]:
        """The layers, in order."""
        return [ForeignBlock(self, index) for index in range(self.shape.layers)]

    def arguments(self, length: int) -> list[tuple[tuple, dict]]:
        """What the library passes to each layer besides the stream: mask, rotations, positions.

        They depend only on the number of positions, since prompts are padded on the right and
        attention is causal. Those of one row serve any number of rows.
        """
        if length not in self._arguments:
            found: list[tuple[tuple, dict]] = []

            def keep(_: nn.Module, arguments: tuple, named: dict) -> None:
                found.append((arguments[1:], named))

            hooks = [
                layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in self.layers
            ]
            with _hooks(*hooks):
                row = torch.zeros((1, length), dtype=torch.int64, device=self.device)
                self.net.base_model(row, use_cache=False)
            self._arguments = {length: found}  # of one length only, because masks are large
        return self._arguments[length]

    def start(self, tokens: Tensor) -> Tensor:
        """The residual stream before the first layer, from token ids [batch, position]."""

        def stop(_: nn.Module, arguments: tuple) -> None:
            raise _FirstLayerReached(arguments[0])

        with _hooks(self.layers[0].register_forward_pre_hook(stop)):
            try:
                self.net.base_model(tokens, use_cache=False)
            except _FirstLayerReached as reached:
                return reached.stream
        raise RuntimeError("the model never called its first layer")

    def logits(self, x: Tensor) -> Tensor:
        """Logits [..., vocabulary] from the residual stream after the last layer [..., d_model]."""
        return self.net.get_output_embeddings()(self.norm(x))

    def trace(self, tokens: Tensor) -> Iterator[LayerTrace]:
        """Run the model layer by layer; see `interface.LanguageModel`.

        resid_mid is the stream before the layer plus what attention adds. In models with parallel
        sublayers (GPT-NeoX), where the MLP reads the stream before the layer, it is still that sum.
        """
        x = self.start(tokens)
        for block in self.blocks:
            pattern, z, written, after = block.step(x)
            yield LayerTrace(pattern, z, x, written, x + written)
            x = after


@contextmanager
def _hooks(*handles: Any) -> Iterator[None]:
    """Keep hooks registered while the block runs."""
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield
