import math
from collections import ChainMap

import numpy as np
import oracles
import pytest
import torch

from headstability.models.shape import Shape
from headstability.models.transformer import Transformer, choose_device

SHAPES = [
    Shape(layers=2, heads=4, d_model=16, mlp=True, context=24, vocabulary=50),
    Shape(layers=3, heads=2, d_model=12, mlp=False, context=24, vocabulary=50),
    Shape(layers=1, heads=1, d_model=8, mlp=True, context=24, vocabulary=50),
]


def random_model(shape, seed=0, dtype=torch.float64):
    """A model with every parameter away from its initial value, biases and norms included."""
    torch.manual_seed(seed)
    model = Transformer(shape)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.3 if parameter.ndim == 1 else 0.0, 0.4)
    return model.to(dtype).requires_grad_(False)


def oracle_of(model):
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    return oracles.Model(tensors, model.shape.layers, model.shape.heads)


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_naive_loops(shape):
    model, oracle = random_model(shape), None
    oracle = oracle_of(model)
    tokens = torch.randint(0, shape.vocabulary, (3, 17), generator=torch.Generator().manual_seed(1))
    logits = model(tokens)
    traced = list(model.trace(tokens))
    for row in range(len(tokens)):
        patterns, zs, mids, expected = oracle.run(tokens[row].tolist())
        assert np.allclose(logits[row], expected, atol=1e-10)
        pre = oracle.w["embed.weight"][tokens[row]] + oracle.w["position.weight"][:17]
        for layer, found in enumerate(traced):
            assert np.allclose(found.pattern[row], patterns[layer], atol=1e-12)
            assert np.allclose(found.z[row], zs[layer], atol=1e-11)
            assert np.allclose(found.resid_mid[row], mids[layer], atol=1e-11)
            assert np.allclose(found.resid_pre[row], pre, atol=1e-11)
            assert np.allclose(found.attention_out[row], mids[layer] - pre, atol=1e-11)
            pre = oracle.after_attention(layer, mids[layer])


@pytest.mark.parametrize("shape", SHAPES)
def test_fused_and_explicit_attention_agree(shape):
    model = random_model(shape, dtype=torch.float32)
    tokens = torch.randint(0, shape.vocabulary, (2, 24))
    *_, last = model.trace(tokens)
    explicit = model.logits(model.blocks[-1].after_attention(last.resid_mid))
    assert torch.allclose(model(tokens), explicit, atol=2e-4)
    predicting = model.unembed(model.before_unembedding(tokens))
    assert torch.allclose(predicting, model(tokens)[:, :-1], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_patterns_are_causal_and_rows_sum_to_one(shape):
    model = random_model(shape)
    tokens = torch.randint(0, shape.vocabulary, (2, 10))
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % shape.vocabulary
    assert torch.equal(model(tokens)[:, :7], model(changed)[:, :7])
    for pattern, *_ in model.trace(tokens):
        assert (pattern.triu(1) == 0).all()
        assert torch.allclose(pattern.sum(-1), torch.ones(()).double())
        assert (pattern[:, :, 0, 0] == 1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_folding_value_biases_keeps_the_function(shape):
    model = random_model(shape)
    tokens = torch.randint(0, shape.vocabulary, (2, 9))
    before = model(tokens)
    z_before = [traced.z for traced in model.trace(tokens)]
    model.fold_value_biases()
    assert torch.allclose(model(tokens), before, atol=1e-10)
    for traced, unfolded, block in zip(model.trace(tokens), z_before, model.blocks, strict=True):
        assert (block.attention.qkv.bias[2 * shape.d_model :] == 0).all()
        assert not torch.allclose(traced.z, unfolded)
    once = model.state_dict()["blocks.0.attention.out.bias"].clone()
    model.fold_value_biases()
    assert torch.equal(once, model.state_dict()["blocks.0.attention.out.bias"])


def test_initial_weights():
    shape = Shape(layers=2, heads=4, d_model=128, mlp=True, context=64, vocabulary=500)
    model = Transformer(shape)
    model.initialise(seed=7)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            scale = 0.8 / math.sqrt(128)
            assert parameter.std().item() == pytest.approx(scale, rel=0.03), name
            assert abs(parameter.mean().item()) < 4 * scale / math.sqrt(parameter.numel()), name
        elif "norm" in name and name.endswith("weight"):
            assert (parameter == 1).all()
        else:
            assert (parameter == 0).all(), name
    assert model.unembed.bias is not None
    assert model.unembed.weight is not model.embed.weight, "embedding and unembedding are untied"
    again, other = Transformer(shape), Transformer(shape)
    again.initialise(seed=7)
    other.initialise(seed=8)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    assert not torch.equal(model.embed.weight, other.embed.weight)


def test_parameter_count_of_the_papers_l8_h8():
    """About 75 M parameters with embeddings, 25 M without: the study's 8-layer models."""
    shape = Shape(layers=8, heads=8, d_model=512, mlp=True, context=1024, vocabulary=48262)
    with torch.device("meta"):
        model = Transformer(shape)
    total = sum(p.numel() for p in model.parameters())
    blocks = sum(p.numel() for p in model.blocks.parameters())
    assert blocks == 8 * (12 * 512**2 + 13 * 512)
    assert total == blocks + 2 * 48262 * 512 + 48262 + 1024 * 512 + 2 * 512
    assert 74e6 < total < 77e6


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_knows_the_sizes_of_all_weights(shape):
    sizes = {name: tuple(value.shape) for name, value in Transformer(shape).state_dict().items()}
    layers = [
        {f"blocks.{layer}.{name}": size for name, size in shape.layer_tensors.items()}
        for layer in range(shape.layers)
    ]
    assert sizes == dict(ChainMap(shape.outer_tensors, *layers))
    assert shape.tensors == len(sizes)
    assert shape.parameters == sum(map(math.prod, sizes.values()))


def test_device_choice():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu").type == "cpu"
