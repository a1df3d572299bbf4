import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_model import SHAPES, random_model

from headstability.analysis.activations import activations
from headstability.errors import UserError
from headstability.measures.meta_sne import default_perplexity, embed, prompt_distances
from headstability.storage.stores import write_cache
from headstability.tables.meta_sne import meta_sne_table

PROMPTS = [[3, 1, 4, 1, 5], [3, 9, 2], [3, 2, 6, 5, 3, 5, 8, 9], [3, 7, 9], [3, 8]]


def matrix(points):
    """All distances between prompts, as a vector."""
    return np.array([np.sqrt(((a - b) ** 2).sum()) for a in points for b in points])


def test_vectors_are_as_far_apart_as_whole_matrices():
    z = np.random.default_rng(0).normal(size=(4, 6, 5))
    found = prompt_distances(z)
    assert found.shape == (4, 15)
    whole = [matrix(points) for points in z]
    for i in range(4):
        for j in range(4):
            expected = np.linalg.norm(whole[i] - whole[j])
            assert np.linalg.norm(found[i] - found[j]) == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 10**6))
def test_rotations_and_shifts_of_z_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(1, 5, 4))
    rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    moved = z @ rotation + rng.normal(size=4)
    assert np.allclose(prompt_distances(moved), prompt_distances(z), atol=1e-5)


@pytest.mark.parametrize(
    ("heads", "perplexity"), [(2, 1), (4, 1), (20, 19 / 3), (91, 30), (34320, 30)]
)
def test_default_perplexity(heads, perplexity):
    assert default_perplexity(heads) == pytest.approx(perplexity)


def test_the_map_is_the_same_twice_and_keeps_groups_together():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 20)
    vectors = (rng.normal(size=(40, 10)) + 20 * groups[:, None]).astype(np.float32)
    places = embed(vectors, 5, 0)
    assert places.tobytes() == embed(vectors, 5, 0).tobytes()
    assert places.tobytes() != embed(vectors, 6, 0).tobytes()
    middle = [places[groups == g].mean(0) for g in (0, 1)]
    nearest = np.argmin([np.linalg.norm(places - m, axis=1) for m in middle], axis=0)
    assert (nearest == groups).all()


@pytest.mark.parametrize("heads", [2, 3, 4])
def test_the_fewest_heads(heads):
    vectors = np.random.default_rng(0).normal(size=(heads, 3)).astype(np.float32)
    assert np.isfinite(embed(vectors, default_perplexity(heads), 0)).all()


def caches(folder, prompts=PROMPTS, sums=("0", "0", "0", "0")):
    paths = []
    for number, (shape, refit) in enumerate((s, r) for s in SHAPES[:2] for r in ("a", "b")):
        model = random_model(shape, seed=number, dtype=torch.float32)
        paths.append(folder / f"{number}.zarr.zip")
        data = activations(model, prompts, torch.device("cpu"))
        write_cache(paths[-1], data, {"cell": refit, "prompts_sha256": sums[number]})
    return paths


def test_every_head_has_its_place(tmp_path):
    paths = caches(tmp_path)
    table = meta_sne_table(["one", "two"], ["a", "b"], paths, None, 3)
    heads = sum(2 * shape.layers * shape.heads for shape in SHAPES[:2])
    assert len(table) == heads == 28
    assert not table[["architecture", "refit", "layer", "head"]].duplicated().any()
    assert np.isfinite(table[["x", "y"]]).all(axis=None)
    assert set(table["relative_depth"]) == {0.5, 1, 1 / 3, 2 / 3}
    assert set(table["perplexity"]) == {9}
    assert set(table["prompts"]) == {5}
    assert set(table["seed"]) == {3}
    again = meta_sne_table(["one", "two"], ["a", "b"], paths, 4.0, 3)
    assert set(again["perplexity"]) == {4}
    assert not np.allclose(again["x"], table["x"])


def test_too_few_prompts_and_different_ones(tmp_path):
    few = caches(tmp_path, PROMPTS[:2])
    with pytest.raises(UserError, match=r"at least 3; .* has 2: .*stability\.prompts"):
        meta_sne_table(["one", "two"], ["a", "b"], few, None, 0)
    mixed = caches(tmp_path, sums=("0", "0", "1", "0"))
    with pytest.raises(UserError, match=r"2\.zarr\.zip .* different prompts"):
        meta_sne_table(["one", "two"], ["a", "b"], mixed, None, 0)
