"""Lazy stores against numpy: the same numbers, and nothing read that is not asked for."""

import zipfile

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstability.errors import UserError
from headstability.notebook.arrays import Store, one_store, squares, stacked
from headstability.storage.stores import open_cache, pattern_of, write_cache

LENGTHS = np.array([3, 1, 5, 2])
LAYERS, HEADS = 2, 3
REFITS = ("seed7", "seed2", "seed9")


def cache(seed, lengths=LENGTHS):
    """A made-up cache: patterns of random rows that sum to 1, and a variable without heads."""
    draw = np.random.default_rng(seed)
    rows = [
        [[draw.dirichlet(np.ones(q + 1)) for n in lengths for q in range(n)] for _ in range(HEADS)]
        for _ in range(LAYERS)
    ]
    packed = np.array([[np.concatenate(head) for head in layer] for layer in rows])
    return xr.Dataset(
        {
            "pattern": (("layer", "head", "entry"), packed.astype(np.float32)),
            "norm": (("layer", "position"), draw.random((LAYERS, lengths.sum()))),
        },
        coords={
            "layer": np.arange(1, LAYERS + 1),
            "head": np.arange(1, HEADS + 1),
            "prompt": np.arange(1, len(lengths) + 1),
            "prompt_length": ("prompt", lengths),
        },
    )


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    found = {name: folder / f"{name}.zarr.zip" for name in REFITS}
    for seed, (name, path) in enumerate(found.items()):
        attributes = {"cell": f"a/wd0/{name}", "step": 3, "prompts_sha256": "0"}
        write_cache(path, cache(seed), attributes)
    return found


@pytest.fixture
def stores(paths):
    return {name: Store(path) for name, path in paths.items()}


@pytest.fixture
def read(monkeypatch):
    """What is read from stores: file, variable, places."""
    found = []
    plain = Store.read

    def noted(store, name, places):
        found.append((store.path.name, name, places))
        return plain(store, name, places)

    monkeypatch.setattr(Store, "read", noted)
    return found


def full(paths):
    """All patterns as squares by naive loops: 0 above the diagonal, NaN beyond a prompt's end."""
    longest = LENGTHS.max()
    out = np.full((len(paths), LAYERS, HEADS, len(LENGTHS), longest, longest), np.nan)
    for r, path in enumerate(paths.values()):
        opened = open_cache(path)
        for layer in range(LAYERS):
            for head in range(HEADS):
                for p, length in enumerate(LENGTHS):
                    square = pattern_of(opened, layer + 1, head + 1, p + 1)
                    out[r, layer, head, p, :length, :length] = square
    return out


def test_refits_stand_beside_each_other_under_their_names(paths, stores):
    found = stacked(stores)
    assert list(found["refit"].values) == list(REFITS)
    assert found["pattern"].dims == ("refit", "layer", "head", "entry")
    assert found.attrs == {"step": 3, "prompts_sha256": "0"}, "what holds for all of them"
    for name, path in paths.items():
        for variable in ("pattern", "norm"):
            expected = open_cache(path)[variable].values
            assert np.array_equal(found[variable].sel(refit=name).values, expected)


def test_squares_agree_with_naive_loops(paths, stores):
    found = squares(stores)
    assert found.dims == ("refit", "layer", "head", "prompt", "query", "key")
    assert np.array_equal(found.values, full(paths).astype(np.float32), equal_nan=True)
    assert np.array_equal(found["prompt_length"].values, LENGTHS)
    row = found.sel(refit="seed2", layer=2, head=1, prompt=3, query=4)
    assert row.sum().item() == pytest.approx(1, abs=1e-6)
    assert row.sel(key=5).item() == 0


def places(size):
    one = st.integers(0, size - 1)
    spans = st.tuples(st.integers(0, size), st.integers(0, size), st.integers(1, 3))
    return st.one_of(one, st.lists(one, max_size=4), spans.map(lambda s: slice(*s)))


SIZES = (len(REFITS), LAYERS, HEADS, len(LENGTHS), int(LENGTHS.max()), int(LENGTHS.max()))


@pytest.fixture(scope="module")
def whole(paths):
    """Open stores, and what they hold as arrays: squares, and the variable without heads."""
    stores = {name: Store(path) for name, path in paths.items()}
    norms = np.stack([open_cache(path)["norm"].values for path in paths.values()])
    return squares(stores), stacked(stores)["norm"], full(paths).astype(np.float32), norms


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(*map(places, SIZES)))
def test_any_selection_is_that_of_the_whole_array(whole, chosen):
    lazy, lazy_norms, array, norms = whole
    dims = ("refit", "layer", "head", "prompt", "query", "key")
    selected = dict(zip(dims, chosen, strict=True))
    expected = xr.DataArray(array, dims=dims).isel(selected)
    found = lazy.isel(selected)
    assert found.dims == expected.dims
    assert np.array_equal(found.values, expected.values, equal_nan=True)
    outer = {"refit": chosen[0], "layer": chosen[1]}
    expected = xr.DataArray(norms, dims=("refit", "layer", "position")).isel(outer)
    assert np.array_equal(lazy_norms.isel(outer).values, expected.values)


def test_only_what_is_asked_for_is_read(stores, read):
    found = squares(stores)
    stacked(stores), one_store(stores["seed2"])
    assert read == [], "labelling reads no values"
    found.sel(refit="seed9", layer=1, prompt=[1, 3], head=2).values  # noqa: B018 - reads
    assert {(name, variable) for name, variable, _ in read} == {("seed9.zarr.zip", "pattern")}
    assert [places[2] for _, _, places in read] == [slice(0, 6), slice(7, 22)]


def test_other_refits_are_opened_when_they_are_needed(paths, tmp_path):
    stores = {"seed7": Store(paths["seed7"]), "gone": Store(tmp_path / "gone.zarr.zip")}
    found = stacked(stores)
    assert found["pattern"].sel(refit="seed7").notnull().all()
    with pytest.raises(UserError, match=r"gone\.zarr\.zip is missing"):
        found["pattern"].sel(refit="gone").values  # noqa: B018 - reads


def test_refits_that_do_not_belong_together_are_refused(paths, tmp_path):
    other = tmp_path / "other.zarr.zip"
    for lengths, prompts in ((LENGTHS, "1"), (LENGTHS[:2], "0")):
        write_cache(other, cache(0, lengths), {"prompts_sha256": prompts})
        found = stacked({"seed7": Store(paths["seed7"]), "other": Store(other)})
        with pytest.raises(UserError, match=r"other.* do not belong together.*run the study again"):
            found["pattern"].values  # noqa: B018 - reads


def test_damage_is_named_with_its_file_and_remedy(paths, tmp_path):
    data = paths["seed7"].read_bytes()
    cut, flipped = tmp_path / "cut.zarr.zip", tmp_path / "flipped.zarr.zip"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"cut.* is damaged: .*Delete it and run the study again"):
        one_store(Store(cut))
    with zipfile.ZipFile(paths["seed7"]) as archive:
        info = archive.getinfo("pattern/c/1/0/0")
    place = data.index(b"pattern/c/1/0/0", info.header_offset) + len("pattern/c/1/0/0") + 5
    flipped.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    found = one_store(Store(flipped))["pattern"]
    assert found.sel(layer=1).notnull().all(), "what is whole can be read"
    with pytest.raises(UserError, match=r"flipped.* is damaged: pattern cannot be read.*Delete it"):
        found.sel(layer=2).values  # noqa: B018 - reads
