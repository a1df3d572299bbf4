"""From weights of others to a cell's checkpoints."""

import json

import numpy as np
import pytest
import torch
from test_ablation import random_prompts
from test_adapters import random_net, tokens_of
from test_huggingface import exported, saved
from test_model import SHAPES, oracle_of, random_model
from test_transformerlens import documented_state

from headstability.analysis.activations import activations
from headstability.analysis.identity import identity_table
from headstability.errors import DamagedFile, UserError
from headstability.exchange import origins
from headstability.exchange.exporting import write_transformerlens
from headstability.exchange.importing import (
    Origin,
    check_text,
    held_out_loss,
    import_weights,
    provenance_of,
)
from headstability.exchange.origins import origins_of
from headstability.models.checkpoints import load_model, read_model, read_tensors, weights_sha256
from headstability.models.families import FAMILIES
from headstability.storage.files import sha256_file, write_json
from headstability.storage.stores import write_cache
from headstability.text.token_files import TokenFile

SHAPE = SHAPES[0]
WANTED = {"layers": 2, "heads": 4, "d_model": 16, "mlp": True}
HEADER = {"cell": "a/wd0/seed1", "weight_decay": 0.0, "init_seed": 1, "data_seed": 1}


def imported(origin, path, wanted=WANTED, sha256=None):
    return import_weights(origin, sha256 or {}, wanted, {**HEADER, "step": 30}, path)


def cache_of(checkpoint, path):
    model, _ = load_model(checkpoint)
    data = activations(model, [[3, 1, 4, 1], [3, 5]], torch.device("cpu"))
    write_cache(path, data, {"weights_sha256": read_tensors(checkpoint)[1]["sha256"]})
    return path.read_bytes()


def test_an_exported_cell_comes_back_with_the_identical_cache(tmp_path):
    model = random_model(SHAPE, dtype=torch.float32)
    write_transformerlens(model, tmp_path / "final.pt", tmp_path / "config.json")
    exported(model, tmp_path / "folder")
    origins = [
        Origin("transformerlens", tmp_path / "final.pt", "final.pt"),
        Origin("huggingface", tmp_path / "folder", "folder"),
    ]
    caches = []
    for number, origin in enumerate(origins):
        path = tmp_path / f"step{number}.safetensors"
        found = imported(origin, path)
        assert found["sha256"] == weights_sha256(model.state_dict())
        assert {k: found["shape"][k] for k in WANTED} == WANTED
        again, header = read_model(path)
        assert header["cell"] == "a/wd0/seed1"
        assert again.shape == SHAPE
        caches.append(cache_of(path, tmp_path / f"{number}.zarr.zip"))
    original = tmp_path / "original.zarr.zip"
    data = activations(model, [[3, 1, 4, 1], [3, 5]], torch.device("cpu"))
    write_cache(original, data, {"weights_sha256": weights_sha256(model.state_dict())})
    assert caches[0] == caches[1] == original.read_bytes()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_foreign_model_keeps_its_function(name, tmp_path):
    net = random_net(name)
    origin = Origin("huggingface", saved(net, tmp_path / "model"), "model")
    found = imported(origin, tmp_path / "step30.safetensors")
    assert set(found["files"]) == {"model/config.json", "model/model.safetensors"}
    assert found["files"]["model/config.json"] == sha256_file(tmp_path / "model/config.json")
    model, header = load_model(tmp_path / "step30.safetensors")
    assert header["step"] == 30
    assert torch.equal(model(tokens_of()), net(tokens_of()).logits)
    with pytest.raises(UserError, match="holds a model of the library transformers"):
        read_model(tmp_path / "step30.safetensors")
    imported(origin, tmp_path / "again.safetensors")
    first, second = tmp_path / "step30.safetensors", tmp_path / "again.safetensors"
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("key", "value"), [("layers", 3), ("heads", 2), ("d_model", 32), ("mlp", False)]
)
def test_another_shape_than_configured_is_refused(key, value, tmp_path):
    torch.save(documented_state(SHAPE), tmp_path / "final.pt")
    origin = Origin("transformerlens", tmp_path / "final.pt", "final.pt")
    text = rf"final\.pt has {key} = {WANTED[key]}, the config says {value}"
    with pytest.raises(UserError, match=text):
        imported(origin, tmp_path / "a.safetensors", {**WANTED, key: value})
    assert not (tmp_path / "a.safetensors").exists()


def test_hashes_of_local_files(tmp_path):
    torch.save(documented_state(SHAPE), tmp_path / "final.pt")
    origin = Origin("transformerlens", tmp_path / "final.pt", "run/final.pt")
    right = sha256_file(tmp_path / "final.pt")
    found = imported(origin, tmp_path / "a.safetensors", sha256={"run/final.pt": right})
    assert found["files"] == {"run/final.pt": right}
    with pytest.raises(UserError, match=rf"run/final\.pt has sha256 {right}, expected 0+"):
        imported(origin, tmp_path / "a.safetensors", sha256={"run/final.pt": "0" * 64})
    (tmp_path / "final.pt").unlink()
    with pytest.raises(UserError, match=r"final\.pt is missing"):
        imported(origin, tmp_path / "a.safetensors")


def test_a_model_must_read_the_text():
    tokens = TokenFile(np.arange(10), 3, 60, "")
    shape = {"vocabulary": 50, "context": 24}
    with pytest.raises(UserError, match="knows 50 token ids, the study's tokenizer has 60"):
        check_text(shape, tokens, 20, "model")
    with pytest.raises(UserError, match=r"takes at most 24 positions, training\.context is 32"):
        check_text({**shape, "vocabulary": 64}, tokens, 32, "model")
    check_text({"vocabulary": 60, "context": 24}, tokens, 24, "model")


def test_held_out_loss_agrees_with_naive_loops(tmp_path):
    model = random_model(SHAPE, dtype=torch.float32)
    write_transformerlens(model, tmp_path / "final.pt", tmp_path / "config.json")
    imported(Origin("transformerlens", tmp_path / "final.pt", "f"), tmp_path / "a.safetensors")
    rows = np.array(random_prompts(50, [12] * 5))
    total, count = oracle_of(model).nll(rows.tolist(), 3)
    found = held_out_loss(tmp_path / "a.safetensors", rows, 3, torch.device("cpu"))
    assert found == pytest.approx(total / count, rel=1e-5)


def provenance(tmp_path, seed, weights, files=("a",)):
    one = {"sha256": weights, "files": dict.fromkeys(files, "0"), "shape": WANTED}
    header = {**HEADER, "cell": f"a/wd0/seed{seed}", "init_seed": seed, "data_seed": seed}
    path = tmp_path / f"{seed}.json"
    write_json(path, provenance_of(header, [30], [one], {"places": {}}, (2.5, 8)))
    return path


def test_imported_refits_must_differ(tmp_path):
    paths = [provenance(tmp_path, seed, weights) for seed, weights in ((1, "x"), (2, "y"))]
    table = identity_table(["seed1", "seed2"], paths)
    assert table.final_sha256.tolist() == ["x", "y"]
    assert table.initial_sha256.isna().all()
    assert table.held_out_loss.tolist() == [2.5, 2.5]
    paths[1] = provenance(tmp_path, 2, "x")
    with pytest.raises(UserError, match="a/wd0/seed1 and a/wd0/seed2 have the same final weights"):
        identity_table(["seed1", "seed2"], paths)


# --- from the cache of the hub ------------------------------------------------------------


@pytest.fixture
def download(tmp_path, monkeypatch):
    """What a download left, and the cached file."""
    cached = tmp_path / "cached.pt"
    cached.write_bytes(b"weights")
    monkeypatch.setattr(
        origins,
        "try_to_load_from_cache",
        lambda repo, name, revision: str(cached) if (repo, revision) == ("o/n", "c") else None,
    )
    files = {"x/final.pt": {"sha256": sha256_file(cached), "size": 7}}
    path = tmp_path / "download.json"
    write_json(path, {"steps": {"30": {"repo": "o/n", "revision": "c", "files": files}}})
    return path, cached


PLACE = {"type": "transformerlens", "repo": "o/n", "revision": "main", "path": "x/final.pt"}
SPEC = {"places": {"30": PLACE}, "activation": "gelu_tanh", "sha256": {}}


def test_origins_of_a_download(download):
    path, cached = download
    found, source = origins_of(SPEC, path)
    assert found == {"30": Origin("transformerlens", cached, "o/n/x/final.pt", "gelu_tanh")}
    assert source == {"places": {"30": {**PLACE, "revision": "c"}}}
    assert str(cached.parent) not in json.dumps(source), "no place of this machine"


def test_what_has_gone_from_the_cache_is_fetched_again(download):
    path, cached = download
    cached.unlink()
    with pytest.raises(DamagedFile, match="has gone from the cache of the hub") as error:
        origins_of(SPEC, path)
    assert error.value.path == path


def test_what_was_altered_in_the_cache_is_refused(download):
    path, cached = download
    cached.write_bytes(b"Weights")
    with pytest.raises(UserError, match=r"o/n/x/final\.pt in the cache \(.*\) has sha256"):
        origins_of(SPEC, path)


def test_origins_of_local_files():
    place = {**PLACE, "repo": "", "revision": ""}
    found, _ = origins_of({**SPEC, "places": {"30": place}}, None)
    assert str(found["30"].path) == found["30"].label == "x/final.pt"
