import copy

import numpy as np
import pytest
import torch
from test_model import SHAPES, oracle_of, random_model

from headstability.analysis import ablation
from headstability.analysis.ablation import ablate_heads

BOS = 3


def random_prompts(vocabulary, lengths, seed=0):
    rng = np.random.default_rng(seed)
    prompts = [[BOS, *rng.integers(0, vocabulary, length - 1).tolist()] for length in lengths]
    prompts[0][2] = BOS  # a beginning token inside a text is not predicted
    return prompts


@pytest.mark.parametrize("methods", [["zero", "mean"], ["mean"], ["zero"]], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_naive_loops(shape, methods, monkeypatch):
    monkeypatch.setattr(ablation, "ABLATED_PROMPTS", 2)
    model = random_model(shape)
    prompts = random_prompts(shape.vocabulary, [9, 4, 12, 2, 7])
    oracle = oracle_of(model)
    total, count = oracle.nll(prompts, BOS)
    result = ablate_heads(copy.deepcopy(model), prompts, BOS, methods)
    assert list(result.ablated) == methods
    assert result.tokens == count
    assert result.total == pytest.approx(total, abs=1e-9)
    for layer in range(shape.layers):
        for head in range(shape.heads):
            for method in methods:
                vector = oracle.mean_z(prompts, BOS, layer, head) if method == "mean" else 0
                expected, _ = oracle.nll(prompts, BOS, (layer, head), vector)
                assert result.ablated[method][layer, head] == pytest.approx(expected, abs=1e-9)


def test_float32_is_close_to_float64():
    model = random_model(SHAPES[0])
    prompts = random_prompts(50, [20, 18, 24])
    exact = ablate_heads(copy.deepcopy(model), prompts, BOS)
    single = ablate_heads(copy.deepcopy(model).float(), prompts, BOS)
    perplexity = np.exp(exact.total / exact.tokens)
    for method in ("zero", "mean"):
        found = np.exp(single.ablated[method] / single.tokens)
        expected = np.exp(exact.ablated[method] / exact.tokens)
        assert np.abs(found - expected).max() < 1e-5 * perplexity


def test_a_head_that_writes_nothing_costs_nothing():
    model = random_model(SHAPES[0])
    width = SHAPES[0].d_head
    model.blocks[1].attention.out.weight[:, 2 * width : 3 * width] = 0
    prompts = random_prompts(50, [10, 6])
    result = ablate_heads(model, prompts, BOS)
    for ablated in result.ablated.values():
        assert ablated[1, 2] == pytest.approx(result.total, abs=1e-9)
        assert abs(ablated[1, 1] - result.total) > 1e-6


def test_a_constant_head_costs_nothing():
    """A head whose values are all bias adds a constant, which ablation leaves in place."""
    model = random_model(SHAPES[1])
    shape = SHAPES[1]
    first = 2 * shape.d_model
    model.blocks[0].attention.qkv.weight[first : first + shape.d_head] = 0
    result = ablate_heads(model, random_prompts(50, [10, 6]), BOS)
    for ablated in result.ablated.values():
        assert ablated[0, 0] == pytest.approx(result.total, abs=1e-9)


def test_value_biases_say_nothing_to_either_method():
    """Folded, they are in the output bias; a mean would hold them and its replacement too."""
    model = random_model(SHAPES[0])
    folded = copy.deepcopy(model)
    folded.fold_value_biases()
    prompts = random_prompts(50, [12, 7])
    one, two = (ablate_heads(copy.deepcopy(m), prompts, BOS) for m in (model, folded))
    for method in ("zero", "mean"):
        assert np.allclose(one.ablated[method], two.ablated[method], atol=1e-9)
        assert np.ptp(one.ablated[method]) > 1e-6


def test_a_head_that_always_says_the_same_has_no_mean_effect():
    """One prompt of one token, again and again: z is the same everywhere but at BOS."""
    model = random_model(SHAPES[0])
    with torch.no_grad():
        model.embed.weight[BOS] = model.embed.weight[7]
        model.position.weight[:] = 0
    result = ablate_heads(model, [[BOS, 7, 7, 7, 7]] * 2, BOS)
    assert np.allclose(result.ablated["mean"], result.total, atol=1e-9)
    assert np.abs(result.ablated["zero"] - result.total).min() > 1e-6


def test_batching_and_order_of_prompts_do_not_matter(monkeypatch):
    model = random_model(SHAPES[0])
    prompts = random_prompts(50, [5, 17, 9, 11, 3, 24])
    whole = ablate_heads(copy.deepcopy(model), prompts, BOS)
    monkeypatch.setattr(ablation, "ABLATED_PROMPTS", 1)
    monkeypatch.setattr(ablation, "ABLATED_VARIANTS", 3)
    single = ablate_heads(copy.deepcopy(model), prompts[::-1], BOS)
    for method in ("zero", "mean"):
        assert np.allclose(whole.ablated[method], single.ablated[method], atol=1e-9)
    assert whole.total == pytest.approx(single.total, abs=1e-9)


def test_progress_reaches_the_end():
    seen = []
    model = random_model(SHAPES[2])
    ablate_heads(model, random_prompts(50, [5] * 20), BOS, progress=seen.append)
    assert seen[-1] == 20
    assert seen == sorted(seen)
    assert torch.is_tensor(model.embed.weight)
