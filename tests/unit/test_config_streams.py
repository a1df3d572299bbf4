"""Keys of residual streams and of the map of heads."""

import pytest
from test_config import edited, valid

from headstability.errors import UserError
from headstability.study.check import check_config


def problems(text):
    with pytest.raises(UserError) as caught:
        check_config(edited(text))
    return str(caught.value)


def test_defaults():
    config = check_config(valid())
    assert config.residual.streams == ["resid_mid"]
    assert (config.residual.kernel, config.residual.estimator) == ("rbf", "biased")
    assert (config.meta_sne.perplexity, config.meta_sne.seed) == (None, 0)


@pytest.mark.parametrize(
    "text",
    [
        "residual: {streams: [resid_pre]}",
        "residual: {streams: [resid_pre, resid_mid], kernel: linear, estimator: debiased}",
        "meta_sne: {perplexity: 23}",
        "meta_sne: {perplexity: 1.5, seed: 4294967295}",
        # 8 heads in small and 16 in large: (24 R - 1) / 3 at most
        "{refits: [5, 6], meta_sne: {perplexity: 15.6}}",
        "{refits: {init_seeds: [1, 2], data_seeds: [1, 2]}, meta_sne: {perplexity: 31.6}}",
    ],
)
def test_what_is_allowed(text):
    check_config(edited(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("residual: {streams: []}", ["residual.streams: ", "give at least 1"]),
        ("residual: {streams: [resid_post]}", ["residual.streams[1]: ", "'resid_mid'"]),
        ("residual: {streams: [resid_mid, resid_mid]}", ["residual.streams: ", "listed twice"]),
        ("residual: {kernel: cosine}", ["residual.kernel: ", "'rbf' or 'linear'"]),
        ("residual: {estimator: unbiased}", ["residual.estimator: ", "'biased' or 'debiased'"]),
        ("residual: {stream: resid_mid}", ["residual.stream: unknown key", "streams"]),
        ("meta_sne: {perplexity: 0}", ["meta_sne.perplexity: 0 ", "at least 1"]),
        (
            "meta_sne: {perplexity: 24}",
            [
                "meta_sne.perplexity: 24 is too large for the 72 heads of a weight decay",
                "at most (heads - 1) / 3 = 23.67, or null",
            ],
        ),
        ("{refits: [5, 6], meta_sne: {perplexity: 15.7}}", ["the 48 heads", "= 15.67"]),
        (
            "{refits: {init_seeds: [1, 2], data_seeds: [1, 2]}, meta_sne: {perplexity: 32}}",
            ["the 96 heads", "= 31.67"],
        ),
        ("meta_sne: {seed: 4294967296}", ["meta_sne.seed: ", "less than 4294967296"]),
        ("meta_sne: {seed: -1}", ["meta_sne.seed: ", "at least 0"]),
    ],
)
def test_what_is_not(text, words):
    message = problems(text)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    "text",
    [
        "{architectures: {small: {layers: many}}, meta_sne: {perplexity: 40}}",
        "{refits: few, meta_sne: {perplexity: 40}}",
        "{architectures: {new: true}, meta_sne: {perplexity: 40}}",
        "{meta_sne: {perplexity: much}}",
    ],
)
def test_a_broken_grid_says_nothing_of_perplexity(text):
    assert "too large" not in problems(text)
