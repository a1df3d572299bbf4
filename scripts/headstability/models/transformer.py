"""The decoder-only pre-LayerNorm transformer of the study (docs/methods.md, "Model")."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import causal_attention, split_heads
from .interface import LanguageModel, LayerTrace
from .shape import Shape

LAYER_NORM_EPS = 1e-5
# Torch's names for the variants of GELU.
GELU_VARIANTS = {"gelu": "none", "gelu_tanh": "tanh"}
INIT_SCALE = 0.8  # weights start as N(0, (INIT_SCALE / sqrt(d_model))^2)


class Attention(nn.Module):
    """Causal multi-head attention. `qkv` holds W_Q, W_K and W_V, each with heads side by side."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.d_head = shape.heads, shape.d_head
        self.qkv = nn.Linear(shape.d_model, 3 * shape.d_model)
        self.out = nn.Linear(shape.d_model, shape.d_model)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [batch, head, position, d_head]."""
        # One copy of all three: products would copy each of them, the transposed keys slowly.
        query, key, value = split_heads(self.qkv(x), self.heads).contiguous()
        return query, key, value

    def write(self, z: Tensor) -> Tensor:
        """What all heads together add to the residual stream: [batch, position, d_model]."""
        return self.out(z.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        """The sublayer's output, by the fastest kernel of the device."""
        return self.out(causal_attention(self.qkv(x), self.heads))

    def pattern_and_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Explicit attention: pattern [batch, head, query, key], z [batch, head, query, d_head]."""
        query, key, value = self.project(x)
        scores = (query @ key.transpose(-1, -2)).div_(math.sqrt(self.d_head))
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        pattern = scores.masked_fill_(future, float("-inf")).softmax(-1)
        return pattern, pattern @ value


class Block(nn.Module):
    """One layer: attention and, unless the model is attention-only, an MLP."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(shape.d_model, eps=LAYER_NORM_EPS)
        self.attention = Attention(shape)
        self.has_mlp = shape.mlp
        self.approximate = GELU_VARIANTS[shape.activation]
        if shape.mlp:
            self.norm_mlp = nn.LayerNorm(shape.d_model, eps=LAYER_NORM_EPS)
            self.mlp_in = nn.Linear(shape.d_model, 4 * shape.d_model)
            self.mlp_out = nn.Linear(4 * shape.d_model, shape.d_model)

    def after_attention(self, resid_mid: Tensor) -> Tensor:
        """The rest of the layer, from the residual stream after attention."""
        if not self.has_mlp:
            return resid_mid
        hidden = F.gelu(self.mlp_in(self.norm_mlp(resid_mid)), approximate=self.approximate)
        return resid_mid + self.mlp_out(hidden)

    def pattern_and_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pattern and z from the residual stream before this layer; see `interface.Layer`."""
        return self.attention.pattern_and_z(self.norm_attention(x))

    def resume(self, x: Tensor, z: Tensor) -> Tensor:
        """The residual stream after this layer if its heads' output is `z`."""
        return self.after_attention(x + self.attention.write(z))

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream after this layer: [batch, position, d_model]."""
        return self.after_attention(x + self.attention(self.norm_attention(x)))

    def fold_value_biases(self) -> None:
        """Move value biases into the output bias; see `interface.Layer`."""
        value_bias = self.attention.qkv.bias.chunk(3)[2]
        self.attention.out.bias += self.attention.out.weight @ value_bias
        value_bias.zero_()

    def matrices(self) -> dict[str, Tensor]:
        """Weight matrices [out, in]; see `interface.Layer`."""
        query, key, value = self.attention.qkv.weight.chunk(3)
        found = {"W_Q": query, "W_K": key, "W_V": value, "W_O": self.attention.out.weight}
        if self.has_mlp:
            found |= {"W_in": self.mlp_in.weight, "W_out": self.mlp_out.weight}
        return found


class Transformer(LanguageModel):
    """Token and position embeddings, L blocks, final LayerNorm, untied unembedding with bias."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocabulary, shape.d_model)
        self.position = nn.Embedding(shape.context, shape.d_model)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm_final = nn.LayerNorm(shape.d_model, eps=LAYER_NORM_EPS)
        self.unembed = nn.Linear(shape.d_model, shape.vocabulary)

    def initialise(self, seed: int) -> None:
        """Draw weight matrices, embeddings included; biases are 0, LayerNorm is 1 and 0.

        They are drawn on the CPU in the order of `parameters()`, so a seed gives the same weights
        on every device.
        """
        generator = torch.Generator().manual_seed(seed)
        scale = INIT_SCALE / math.sqrt(self.shape.d_model)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 2:
                    drawn = torch.empty(parameter.shape).normal_(0, scale, generator=generator)
                    parameter.copy_(drawn)
                else:
                    parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)

    def start(self, tokens: Tensor) -> Tensor:
        """The residual stream before the first layer, from token ids [batch, position]."""
        return self.embed(tokens) + self.position.weight[: tokens.shape[1]]

    def logits(self, x: Tensor) -> Tensor:
        """Logits [batch, position, vocabulary] from the residual stream after the last layer."""
        return self.unembed(self.norm_final(x))

    def before_unembedding(self, tokens: Tensor) -> Tensor:
        """The normalised stream, [batch, position - 1, d_model]: all positions but the last."""
        return self.norm_final(self.stream(tokens)[:, :-1])

    def trace(self, tokens: Tensor) -> Iterator[LayerTrace]:
        """Run the model layer by layer; see `interface.LanguageModel`."""
        x = self.start(tokens)
        for block in self.blocks:
            pattern, z = block.pattern_and_z(x)
            attention_out = block.attention.write(z)
            resid_mid = x + attention_out
            yield LayerTrace(pattern, z, x, attention_out, resid_mid)
            if block is not self.blocks[-1]:  # what follows the last layer is not used
                x = block.after_attention(resid_mid)


def choose_device(configured: str) -> torch.device:
    """The device for 'auto', 'cpu' or 'cuda'; auto takes a CUDA GPU where one is present."""
    if configured == "auto":
        configured = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(configured)
