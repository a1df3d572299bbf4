"""The shape of a transformer, apart from the module that runs one and so needs PyTorch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """The shape of a transformer: layers L, heads H, d_head = d_model / H, d_mlp = 4 d_model."""

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
