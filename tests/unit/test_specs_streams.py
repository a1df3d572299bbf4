"""What the jobs of residual streams, norms and the map of heads know of the config."""

import json

import pytest
from test_study import config, matches

from headstability import specs
from headstability.study import Study


def all_specs(**edits):
    study = Study(config(**edits))
    made = {
        "cache": specs.cache(study),
        "streams": specs.residual_similarity(study),
        "figure": specs.residual(study),
        "map": specs.meta_sne(study),
    }
    return {name: json.dumps(spec, sort_keys=True) for name, spec in made.items()}


SMALL = config()["architectures"]["small"]
EFFECTS = [
    ({"residual__streams": ["resid_pre", "resid_mid"]}, {"cache", "streams"}),
    ({"residual__streams": ["resid_pre"]}, {"cache", "streams"}),
    ({"residual__streams": ["resid_mid"]}, set()),
    ({"residual__kernel": "linear"}, {"figure"}),
    ({"residual__estimator": "debiased"}, {"figure"}),
    ({"meta_sne__perplexity": 5.0}, {"map"}),
    ({"meta_sne__seed": 1}, {"map"}),
    ({"refits": [3, 1, 2, 4]}, {"streams", "map"}),
    ({"refits": [1, 2, 3]}, set()),
    ({"weight_decays": [0, 0.1]}, {"figure"}),
    ({"architectures__third": SMALL}, {"map"}),
    ({"architectures__small__layers": 3}, set()),
    ({"training__device": "cpu"}, {"cache"}),
    ({"figures__palette": "deep"}, {"figure"}),
    ({"figures__include": ["residual"]}, set()),
]


@pytest.mark.parametrize(("edits", "changed"), EFFECTS, ids=[str(item[0])[:50] for item in EFFECTS])
def test_a_specification_changes_with_the_keys_it_uses(edits, changed):
    before, after = all_specs(), all_specs(**edits)
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_order_of_streams_does_not_matter():
    both = [["resid_mid", "resid_pre"], ["resid_pre", "resid_mid"]]
    one, other = (all_specs(residual__streams=streams) for streams in both)
    assert one == other


def test_figures_of_a_weight_decay_alone():
    """meta_sne is drawn once a weight decay, over all architectures."""
    study = Study(config())
    found = [path for path in study.figure_paths("meta_sne") if path.endswith(".png")]
    assert found == [f"results/demo/figures/meta_sne/wd{decay}.png" for decay in ("0.1", "0")]
    for path in found:
        assert not matches(study.unknown_output_pattern, path)
    wrong = "results/demo/figures/meta_sne.png"
    assert matches(study.unknown_output_pattern, wrong)
    assert "meta_sne/wd{weight_decay}" in str(study.unknown_output(wrong))
