"""One optimiser step, as fast as device and recipe allow (docs/methods.md, "Training")."""

import os
import shutil

import torch
from torch import Tensor

from ..errors import UserError
from ..models.precision import forward_pass, product_type, products
from ..models.transformer import Transformer
from .loss import loss_terms, unembedding_loss
from .settings import Recipe


class Engine:
    """Optimiser steps of one model. Nothing here waits for a GPU: values are read when logged."""

    def __init__(
        self, model: Transformer, optimizer: torch.optim.Optimizer, recipe: Recipe
    ) -> None:
        """Prepare steps of a model on its device; UserError if a compiler is needed and absent."""
        self.model, self.optimizer, self.recipe = model, optimizer, recipe
        self.device = model.embed.weight.device
        self.parameters = list(model.parameters())
        self.forward, self.terms = model.before_unembedding, loss_terms
        if self.device.type == "cuda":  # kernels that give the same bits every time, if they exist
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # it only costs time
        if recipe.compile is not None:
            compiler = os.environ.get("CXX", "g++")
            if self.device.type == "cpu" and shutil.which(compiler) is None:
                raise UserError(
                    "training.compile needs a C++ compiler on the CPU and there is no "
                    f"{compiler}: install one, name one in the environment variable CXX, or set "
                    "training.compile: null"
                )
            mode = {"default": None, "cudagraphs": "reduce-overhead"}[recipe.compile]
            self.forward = torch.compile(model.before_unembedding, mode=mode, dynamic=False)
            self.terms = torch.compile(loss_terms)
        # A replayed graph writes its gradients to the same memory every time, so they are added to
        # `.grad` in memory of its own.
        self.keeps_gradients = recipe.compile == "cudagraphs"
        if self.keeps_gradients:
            for parameter in self.parameters:
                parameter.grad = torch.zeros_like(parameter)

    def step(self, tokens: Tensor, rate: float, want_norm: bool) -> tuple[Tensor, Tensor | None]:
        """One step on token ids [batch, context]: forward and backward passes, clipping, update.

        Returns the batch's mean loss and the norm of its gradient before clipping, as scalars on
        the device. The norm is None if nothing is clipped, unless `want_norm`.
        """
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with products(recipe.precision, self.device):
            loss = self.gradients(tokens)
        norm = None
        if recipe.clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, recipe.clip)
        elif want_norm:
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not self.keeps_gradients)
        return loss, norm

    def gradients(self, tokens: Tensor) -> Tensor:
        """Add the gradients of a batch's mean loss to `.grad`; return the loss."""
        total = torch.zeros((), device=self.device)
        for part in tokens.split(self.recipe.microbatch or len(tokens)):
            if self.keeps_gradients:
                torch.compiler.cudagraph_mark_step_begin()
            # All rows have the same number of targets, so the batch's mean is the mean over rows.
            loss = self._loss(part) * (len(part) / len(tokens))
            loss.backward()
            total += loss.detach()
        return total

    def _loss(self, tokens: Tensor) -> Tensor:
        with forward_pass(self.recipe.precision, self.device):
            stream = self.forward(tokens)
        stream, targets = stream.flatten(0, 1), tokens[:, 1:].flatten()
        weight, bias = self.model.unembed.weight, self.model.unembed.bias
        dtype = product_type(self.recipe.precision)
        return unembedding_loss(stream, weight, bias, targets, dtype, terms=self.terms)
