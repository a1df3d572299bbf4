"""Running models without gradients: packed weights (`precision.inference`)."""

import pytest
import torch
import torch.nn.functional as F
from test_model import random_model
from torch import nn

from headstability.models import precision
from headstability.models.precision import PackedLinear, inference, packing_is_exact
from headstability.models.shape import Shape

CPU = torch.device("cpu")
TOKENS = torch.arange(60).view(4, 15) % 29
PACKS = packing_is_exact()


@pytest.fixture
def unsure():
    """Whether weights can be packed is found out anew, and again after the test."""
    packing_is_exact.cache_clear()
    yield
    packing_is_exact.cache_clear()


def model(dtype=torch.float32, **changes):
    sizes = {"layers": 2, "heads": 4, "d_model": 24, "mlp": True, "context": 16, "vocabulary": 29}
    return random_model(Shape(**{**sizes, **changes}), dtype=dtype)


def layers_in_use(one):
    """Linear layers that compute in another way than their own."""
    return [module for module in one.modules() if "forward" in vars(module)]


def linear_layers(one):
    return [module for module in one.modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("changes", [{}, {"mlp": False}, {"heads": 12}, {"d_model": 4, "heads": 1}])
def test_logits_are_those_of_float64(changes):
    wanted = model(torch.float64, **changes)(TOKENS)
    one = model(**changes)
    with inference(one.modules(), CPU):
        found = one(TOKENS)
    assert (found - wanted).norm() < 1e-6 * wanted.norm()


@pytest.mark.skipif(not PACKS, reason="this build of torch multiplies no packed weights")
def test_linear_layers_are_packed_while_the_block_runs():
    one = model().requires_grad_()
    with inference(one.modules(), CPU):
        assert layers_in_use(one) == linear_layers(one)
        one(TOKENS)
    assert layers_in_use(one) == []
    with pytest.raises(ValueError, match="inside"), inference(one.modules(), CPU):
        raise ValueError("inside")
    assert layers_in_use(one) == []
    assert one(TOKENS).requires_grad


@pytest.mark.skipif(not PACKS, reason="this build of torch multiplies no packed weights")
@pytest.mark.parametrize("shape", [(7,), (1, 7), (5, 7), (2, 3, 7), (2, 2, 3, 7), (0, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_takes_what_a_linear_layer_takes(shape, bias):
    layer = nn.Linear(7, 5, bias=bias)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = PackedLinear(layer)(x)
        wanted = layer.double()(x.double())
    assert found.shape == wanted.shape
    assert torch.allclose(found.double(), wanted, atol=1e-6)


@pytest.mark.skipif(not PACKS, reason="this build of torch multiplies no packed weights")
def test_a_packed_layer_takes_what_does_not_lie_in_order():
    layer = nn.Linear(7, 5)
    x = torch.randn((7, 6), generator=torch.Generator().manual_seed(2)).T
    with torch.inference_mode():
        found = PackedLinear(layer)(x)
        assert torch.allclose(found.double(), layer.double()(x.double()), atol=1e-6)


def test_finding_out_draws_no_random_numbers(unsure):
    before = torch.random.get_rng_state()
    packing_is_exact()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_later_block_sees_weights_that_changed_in_between():
    one = model()
    with inference(one.modules(), CPU):
        before = one(TOKENS)
    one.initialise(1)
    with inference(one.modules(), CPU):
        after = one(TOKENS)
    assert torch.allclose(after, one(TOKENS).detach(), atol=1e-6)
    assert not torch.allclose(after, before, atol=1e-2)


def test_models_of_float64_are_computed_in_float64():
    one = model(torch.float64)
    wanted = one(TOKENS).detach()
    with inference(one.modules(), CPU):
        assert layers_in_use(one) == []
        assert torch.equal(one(TOKENS), wanted)


def test_layers_of_another_kind_compute_as_they_like():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    one = nn.Sequential(Doubled(3, 3), nn.Linear(3, 2))
    x = torch.ones(1, 3)
    wanted = one(x).detach()
    with inference(one.modules(), CPU):
        assert torch.allclose(one(x), wanted)
        assert one[0] not in layers_in_use(one)


def rounded(self, x):
    return F.linear(x.bfloat16(), self.weight.bfloat16()).float()


def gone(self, x):
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


def changed(self, x):
    raise RuntimeError("mkldnn::_linear_pointwise() expected at most 5 argument(s)")


@pytest.mark.parametrize("call", [rounded, gone, changed])
def test_nothing_is_packed_where_packing_rounds_or_fails(monkeypatch, unsure, call):
    monkeypatch.setattr(precision.PackedLinear, "__call__", call)
    assert not packing_is_exact()
    one = model()
    with inference(one.modules(), CPU):
        assert layers_in_use(one) == []
        found = one(TOKENS)
    assert torch.allclose(found, one(TOKENS).detach(), atol=1e-6)
