"""How a cell is trained: recipe, learning rates and optimiser."""

import math
from dataclasses import dataclass

import torch

from ..models.shape import Shape
from ..models.transformer import Transformer


@dataclass(frozen=True)
class Recipe:
    """The `training` section of the config, with the number of steps resolved."""

    steps: int
    batch: int
    context: int
    learning_rate: float
    warmup_steps: int
    schedule: str
    betas: tuple[float, float]
    clip: float | None
    precision: str
    compile: str | None
    microbatch: int | None
    device: str
    log_every: int
    evaluate_every: int
    held_out_rows: int


@dataclass
class Cell:
    """What is trained: one refit of one condition."""

    name: str  # as in its path, for messages
    shape: Shape
    recipe: Recipe
    weight_decay: float
    init_seed: int  # of the initial weights
    data_seed: int  # of the order of rows
    checkpoint_steps: list[int]  # steps whose weights are kept; the last step is one of them


def learning_rate(step: int, recipe: Recipe) -> float:
    """The learning rate of a step (counted from 0): linear warm-up, then the schedule."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.learning_rate
    span = max(1, recipe.steps - recipe.warmup_steps)
    left = 1 - (step - recipe.warmup_steps) / span
    if recipe.schedule == "linear":
        return recipe.learning_rate * left
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (1 - left)))


def make_optimizer(model: Transformer, weight_decay: float, recipe: Recipe) -> torch.optim.Adam:
    """Adam for weight decay 0, else AdamW (decoupled, on every parameter); fused kernels."""
    kind = torch.optim.AdamW if weight_decay > 0 else torch.optim.Adam
    rates = {"lr": recipe.learning_rate, "betas": recipe.betas, "weight_decay": weight_decay}
    return kind(model.parameters(), **rates, fused=True)
