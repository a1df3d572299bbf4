"""Models of the library `transformers`, run layer by layer through hooks.

The library's own eager attention computes everything: an adapter only reads what goes into a
layer's output projection, and can put something else in its place (docs/models.md, "Models
trained elsewhere"). So patterns, z and ablations are the library's to the last bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..model import LayerTrace


@dataclass(frozen=True)
class ForeignShape:
    """The sizes of a foreign model; `heads` counts query heads."""

    layers: int
    heads: int
    d_model: int
    d_head: int
    context: int
    vocabulary: int


@dataclass(frozen=True)
class Family:
    """Where models of one kind keep what is hooked.

    Attributes:
        layers: the list of layers.
        attention: the attention module, in a layer.
        projection: the output projection, in the attention module.
        norm: the last normalisation.
        value_bias: the part of an attention module's parameters that is added to values, one row
            a head of keys and values [head, d_head], a view; None if it has none.
    """

    layers: str
    attention: str
    projection: str
    norm: str
    value_bias: Callable[[nn.Module, int], Tensor | None]


def _gpt2_value_bias(attention: nn.Module, d_head: int) -> Tensor | None:
    bias = attention.c_attn.bias
    return bias[2 * len(bias) // 3 :].view(-1, d_head)


def _neox_value_bias(attention: nn.Module, d_head: int) -> Tensor | None:
    bias = attention.query_key_value.bias
    return None if bias is None else bias.view(-1, 3, d_head)[:, 2]


def _llama_value_bias(attention: nn.Module, d_head: int) -> Tensor | None:
    bias = attention.v_proj.bias
    return None if bias is None else bias.view(-1, d_head)


_LLAMA = Family("model.layers", "self_attn", "o_proj", "model.norm", _llama_value_bias)
# By `model_type` of their config.json.
FAMILIES = {
    "gpt2": Family("transformer.h", "attn", "c_proj", "transformer.ln_f", _gpt2_value_bias),
    "gpt_neox": Family(
        "gpt_neox.layers", "attention", "dense", "gpt_neox.final_layer_norm", _neox_value_bias
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
}


class _FirstLayerReached(Exception):
    """Carries the residual stream out of a forward pass that is not needed any further."""

    def __init__(self, stream: Tensor) -> None:
        self.stream = stream


class ForeignBlock:
    """One layer of a foreign model; see `traced.TracedBlock`."""

    def __init__(self, model: "ForeignModel", index: int) -> None:
        """Take the layer with this index, from 0."""
        self.model, self.index = model, index
        family = model.family
        self.layer = model.layers[index]
        self.attention = self.layer.get_submodule(family.attention)
        self.projection = self.attention.get_submodule(family.projection)

    def __call__(self, x: Tensor) -> Tensor:
        """The residual stream after this layer, [batch, position, d_model], from that before."""
        arguments, named = self.model.arguments(x.shape[1])[self.index]
        output = self.layer(x, *arguments, **named)
        return output[0] if isinstance(output, tuple) else output

    def step(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run the layer and keep what happens in it.

        Returns:
            pattern [batch, head, query, key], z [batch, head, query, d_head], what the attention
            sublayer adds to the stream, and the stream after the layer.
        """
        seen: dict[str, Tensor] = {}

        def keep_z(module: nn.Module, arguments: tuple) -> None:
            del module
            seen["z"] = arguments[0]

        def keep_attention(module: nn.Module, arguments: tuple, output: tuple) -> None:
            del module, arguments
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

        def put_z(module: nn.Module, arguments: tuple) -> tuple[Tensor]:
            del module, arguments
            return (z.transpose(1, 2).flatten(2),)

        with _hooks(self.projection.register_forward_pre_hook(put_z)):
            return self(x)

    def fold_value_biases(self) -> None:
        """Move this layer's value biases into its output bias."""
        shape = self.model.shape
        bias = self.model.family.value_bias(self.attention, shape.d_head)
        if bias is None:
            return
        with torch.no_grad():
            # Query heads that share a head of values share its bias.
            each = bias.repeat_interleave(shape.heads // len(bias), dim=0).flatten()
            weight = self.projection.weight
            written = weight @ each if isinstance(self.projection, nn.Linear) else each @ weight
            if self.projection.bias is None:
                self.projection.bias = nn.Parameter(torch.zeros_like(written), requires_grad=False)
            self.projection.bias += written
            bias.zero_()


class ForeignModel(nn.Module):
    """A causal language model of `transformers`; see `traced.TracedModel`."""

    def __init__(self, net: Any) -> None:
        """Wrap a model.

        Args:
            net: a ...ForCausalLM whose `model_type` is one of `FAMILIES`, with eager attention.
        """
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

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.net.device

    def _apply(self, fn: Callable, recurse: bool = True) -> "ForeignModel":
        self._arguments.clear()  # masks are of the old device and type
        return super()._apply(fn, recurse)

    @property
    def blocks(self) -> Sequence[ForeignBlock]:
        """The layers, in order."""
        return [ForeignBlock(self, index) for index in range(self.shape.layers)]

    def arguments(self, length: int) -> list[tuple[tuple, dict]]:
        """What the library gives every layer beside the stream: mask, rotations, positions.

        They depend on the number of positions alone, as prompts are padded on the right and
        causal; those of one row serve any number of rows.
        """
        if length not in self._arguments:
            found: list[tuple[tuple, dict]] = []

            def keep(module: nn.Module, arguments: tuple, named: dict) -> None:
                del module
                found.append((arguments[1:], named))

            hooks = [
                layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in self.layers
            ]
            with _hooks(*hooks):
                row = torch.zeros((1, length), dtype=torch.int64, device=self.device)
                self.net.base_model(row, use_cache=False)
            self._arguments = {length: found}  # of the last length only: masks are large
        return self._arguments[length]

    def start(self, tokens: Tensor) -> Tensor:
        """The residual stream before the first layer, from token ids [batch, position]."""

        def stop(module: nn.Module, arguments: tuple) -> None:
            del module
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

    def stream(self, tokens: Tensor) -> Tensor:
        """The residual stream after the last layer, from token ids [batch, position]."""
        x = self.start(tokens)
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, position, vocabulary] from token ids [batch, position]."""
        return self.logits(self.stream(tokens))

    def trace(self, tokens: Tensor) -> Iterator[LayerTrace]:
        """Run the model layer by layer.

        Args:
            tokens: ids, [batch, position].

        Yields:
            What each layer does; patterns and z are of query heads. resid_mid is the stream
            before the layer plus what the attention sublayer adds. In a model with parallel
            sublayers (GPT-NeoX) the MLP reads the stream before the layer, so no computation
            there passes through resid_mid; it is still that sum.
        """
        x = self.start(tokens)
        for block in self.blocks:
            pattern, z, written, after = block.step(x)
            yield LayerTrace(pattern, z, x, written, x + written)
            x = after

    def fold_value_biases(self) -> None:
        """Move value biases into output biases: b_O += sum_h b_V[h] W_O[h]; b_V = 0."""
        for block in self.blocks:
            block.fold_value_biases()


@contextmanager
def _hooks(*handles: Any) -> Iterator[None]:
    """Keep hooks for the length of a block."""
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield
