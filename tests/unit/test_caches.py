import zipfile

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from test_model import SHAPES, oracle_of, random_model

from headstability.analysis.activations import activations, batches_by_length
from headstability.errors import DamagedFile, UserError
from headstability.storage.stores import (
    layer_sha256,
    open_cache,
    pattern_of,
    verify_cache,
    write_cache,
)

CPU = torch.device("cpu")
PROMPTS = [[3, 1, 4, 1, 5], [3, 9], [3, 2, 6, 5, 3, 5, 8, 9], [3, 7, 9]]
PROVENANCE = {"cell": "a/wd0/seed1", "prompts_sha256": "0" * 64}


@pytest.fixture(scope="module")
def model():
    return random_model(SHAPES[0], dtype=torch.float32)


@pytest.fixture
def path(tmp_path, model):
    path = tmp_path / "caches" / "passages.zarr.zip"
    write_cache(path, activations(model, PROMPTS, CPU, batch=3), PROVENANCE)
    return path


@pytest.mark.parametrize("batch", [1, 2, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_activations_agree_with_naive_loops(shape, batch):
    """Padding and batching leave every prompt as if it were run alone."""
    model = random_model(shape)
    oracle = oracle_of(model)
    data = activations(model.float(), PROMPTS, CPU, batch, ["resid_mid", "resid_pre"])
    for number, prompt in enumerate(PROMPTS, start=1):
        patterns, zs, mids, _ = oracle.run(prompt)
        pre = oracle.w["embed.weight"][prompt] + oracle.w["position.weight"][: len(prompt)]
        here = data.isel(position=(data.position_prompt == number).values)
        assert here.token.values.tolist() == prompt
        for layer in range(shape.layers):
            one = here.sel(layer=layer + 1)
            assert np.allclose(one.resid_mid, mids[layer], atol=1e-5)
            assert np.allclose(one.resid_pre, pre, atol=1e-5)
            written = mids[layer] - pre
            for name, vectors in (("attention_out", written), ("resid_mid", mids[layer])):
                norms = [np.sqrt(((v - v.mean()) ** 2).sum()) for v in vectors]
                assert np.allclose(one[f"{name}_norm"], norms, rtol=1e-5)
            pre = oracle.after_attention(layer, mids[layer])
            for head in range(shape.heads):
                found = pattern_of(data, layer + 1, head + 1, number)
                assert np.allclose(found, patterns[layer][head], atol=1e-5)
                assert np.allclose(one.z.sel(head=head + 1), zs[layer][head], atol=1e-5)
                mean = one.z_mean.sel(head=head + 1, prompt=number)
                assert np.allclose(mean, np.mean(zs[layer][head], axis=0), atol=1e-5)


def test_only_the_streams_asked_for_are_kept(model):
    assert "resid_pre" not in activations(model, PROMPTS, CPU)
    data = activations(model, PROMPTS, CPU, streams=["resid_pre"])
    assert "resid_mid" not in data
    assert "resid_mid_norm" in data


def test_entries_say_what_they_are(model):
    data = activations(model, PROMPTS, CPU)
    assert data.sizes["entry"] == sum(len(p) * (len(p) + 1) // 2 for p in PROMPTS)
    full = pattern_of(data, 2, 3, 3)
    here = data.isel(entry=(data.entry_prompt == 3).values).sel(layer=2, head=3)
    for value, query, key in zip(here.pattern.values, here["query"], here["key"], strict=True):
        assert full.sel(query=int(query), key=int(key)) == value
    assert data.pattern.dtype == np.float32


def test_round_trip(path, model):
    opened = open_cache(path)
    xr.testing.assert_equal(opened.load(), activations(model, PROMPTS, CPU, batch=3))
    verify_cache(path, opened, list(opened.data_vars))
    assert opened.attrs["cell"] == "a/wd0/seed1"
    assert all(opened[name].attrs["long_name"] for name in opened.data_vars)
    documented = xr.open_zarr(zarr.storage.ZipStore(path, mode="r"), consolidated=False)
    assert documented.sizes == opened.sizes


def test_one_file_written_the_same_twice(path, tmp_path, model):
    again = tmp_path / "again.zarr.zip"
    write_cache(again, activations(model, PROMPTS, CPU, batch=3), PROVENANCE)
    assert path.read_bytes() == again.read_bytes()
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_layer_is_read_without_the_others(path):
    names = zipfile.ZipFile(path).namelist()
    for variable in ("pattern", "z", "resid_mid"):
        chunks = [name for name in names if name.startswith(f"{variable}/c/")]
        first = {name.split("/")[2] for name in chunks}
        assert first == {"0", "1"}, "chunks are split by layer"


def damage(path, place, value=None):
    data = bytearray(path.read_bytes())
    if value is None:
        del data[place:]
    else:
        data[place] ^= value
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_cache_is_refused_and_left_as_it_is(path, share):
    damage(path, int(len(path.read_bytes()) * share))
    truncated = path.read_bytes()
    with pytest.raises(DamagedFile, match=r"passages\.zarr\.zip is damaged: not a comp") as error:
        verify_cache(path, open_cache(path), ["pattern", "z", "resid_mid"])
    assert error.value.path == path
    assert error.value.reason.startswith("not a complete zarr store (")
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == truncated


def test_any_flipped_byte_of_the_patterns_is_noticed(path):
    info = next(i for i in zipfile.ZipFile(path).infolist() if i.filename == "pattern/c/1/0/0")
    place = info.header_offset + 30 + len(info.filename) + info.file_size // 2
    damage(path, place, 1)
    with pytest.raises(DamagedFile, match="is damaged: pattern cannot be read") as error:
        verify_cache(path, open_cache(path), ["pattern"])
    assert error.value.path == path


def rewrite(path, change):
    """Rewrite the zip with valid checksums after changing its contents."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)


def test_a_lost_chunk_is_noticed(path):
    """zarr alone would read zeros here, without a word."""
    rewrite(path, lambda contents: contents.pop("pattern/c/0/0/0"))
    with pytest.raises(DamagedFile, match=r"layer 1 of pattern has sha256"):
        verify_cache(path, open_cache(path), ["pattern"])


def test_altered_values_with_valid_checksums_are_noticed(path):
    def change(contents):
        values = np.frombuffer(contents["z/c/1/0/0/0"], dtype=np.float32).copy()
        values[0] += 1
        contents["z/c/1/0/0/0"] = values.tobytes()

    rewrite(path, change)
    verify_cache(path, open_cache(path), ["pattern"])
    with pytest.raises(DamagedFile, match=r"layer 2 of z has sha256"):
        verify_cache(path, open_cache(path), ["z"])


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match="is missing: run the same command again"):
        open_cache(tmp_path / "none.zarr.zip")
    text = tmp_path / "text.zarr.zip"
    text.write_text("not a zip")
    with pytest.raises(DamagedFile, match="not a complete zarr store"):
        open_cache(text)


def test_batches_hold_every_prompt_once():
    batches = batches_by_length(PROMPTS, 3)
    assert sorted(index for batch in batches for index in batch) == [0, 1, 2, 3]
    assert [len(PROMPTS[index]) for batch in batches for index in batch] == [8, 5, 3, 2]


def test_layer_hash_sees_order_and_values():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert layer_sha256(values) == layer_sha256(np.asfortranarray(values))
    assert layer_sha256(values) != layer_sha256(values[::-1])
