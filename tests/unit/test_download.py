"""Fetching from a hub: cache, resumption, hashes and messages, against a loopback hub."""

import hashlib
import json

import pytest
from huggingface_hub import constants, file_download
from loopback_hub import COMMIT, LoopbackHub, etag_of, hub_at, serving

from headstability.errors import UserError
from headstability.hub.download import fetch_place

REPO = "some/weights"
DATA = bytes(range(256)) * 4096
FINAL = f"{REPO}/x/run_1/final.pt"


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # that a small file has several
    hub = LoopbackHub()
    hub.files[FINAL] = DATA
    with serving(hub):
        yield hub


@pytest.fixture
def open_hub(hub, tmp_path):
    return lambda revision=COMMIT: hub_at(hub.address, tmp_path / "cache", REPO, revision)


def partial_of(tmp_path):
    blobs = tmp_path / "cache" / "models--some--weights" / "blobs"
    return blobs / f"{etag_of(DATA, True)}.headstability"


def fetch(opened, sha256=None):
    return fetch_place(opened, "transformerlens", "x/run_1/final.pt", sha256 or {})


@pytest.mark.parametrize("revision", [COMMIT, "step30"])
def test_a_file_is_fetched_once(hub, open_hub, revision, capsys):
    found = fetch(open_hub(revision))
    expected = {"sha256": hashlib.sha256(DATA).hexdigest(), "size": len(DATA)}
    assert found == {"repo": REPO, "revision": COMMIT, "files": {"x/run_1/final.pt": expected}}
    assert open_hub(revision).fetch("x/run_1/final.pt").read_bytes() == DATA
    assert fetch(open_hub(revision)) == found
    assert len(hub.downloads()) == 1
    assert "100 %" in capsys.readouterr().err, "there is a progress bar"


def test_a_commit_in_the_cache_needs_no_network(hub, open_hub):
    fetch(open_hub())
    hub.requests.clear()
    fetch(open_hub())
    assert hub.requests == []


def test_a_broken_connection_is_taken_up_in_the_same_run(hub, open_hub):
    hub.cut[FINAL] = 100_000
    assert open_hub().fetch("x/run_1/final.pt").read_bytes() == DATA
    ranges = [asked for method, _, asked in hub.requests if method == "GET"]
    assert ranges[0] is None
    assert ranges[1].startswith("bytes=")
    assert int(ranges[1].removeprefix("bytes=").strip("-")) > 0


def test_a_killed_download_is_taken_up_by_the_next_run(hub, open_hub, tmp_path):
    partial = partial_of(tmp_path)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(DATA[:300_000])
    assert open_hub().fetch("x/run_1/final.pt").read_bytes() == DATA
    (asked,) = [asked for method, _, asked in hub.requests if method == "GET"]
    assert asked == "bytes=300000-"
    assert not partial.exists()


def test_what_arrives_damaged_is_refused_and_removed(hub, open_hub, tmp_path):
    hub.damage.add(FINAL)
    with pytest.raises(UserError, match=r"final\.pt of some/weights at c+ arrived damaged"):
        fetch(open_hub())
    assert not partial_of(tmp_path).exists()
    hub.damage.clear()
    assert fetch(open_hub())["files"]


def test_a_pinned_hash_must_fit(open_hub):
    right = hashlib.sha256(DATA).hexdigest()
    assert fetch(open_hub(), {FINAL: right})["files"]["x/run_1/final.pt"]["sha256"] == right
    with pytest.raises(UserError, match=rf"{FINAL} has sha256 {right}, expected {'0' * 64}"):
        fetch(open_hub(), {FINAL: "0" * 64})


def test_what_does_not_exist_is_named(hub, open_hub, tmp_path):
    with pytest.raises(UserError, match=r"some/weights at c+ has no file x/run_2/final\.pt"):
        fetch_place(open_hub(), "transformerlens", "x/run_2/final.pt", {})
    with pytest.raises(UserError, match="the hub has no revision some/weights at step31"):
        fetch(open_hub("step31"))
    other = hub_at(hub.address, tmp_path, "no/repository")
    with pytest.raises(UserError, match="the hub has no repository no/repository"):
        fetch(other)


def test_offline(hub, open_hub, tmp_path):
    fetch(open_hub())
    closed = "http://127.0.0.1:9"
    there = hub_at(closed, tmp_path / "cache", REPO)
    assert fetch(there)["files"], "what is in the cache needs no hub"
    absent = hub_at(closed, tmp_path / "empty", REPO)
    with pytest.raises(UserError, match=r"is not in the cache .* and cannot be fetched") as error:
        fetch(absent)
    assert closed in str(error.value)
    assert "HF_HOME" in str(error.value)


def test_a_model_of_transformers(hub, tmp_path):
    repo = "owner/model-seed1"
    index = {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    hub.files |= {
        f"{repo}/config.json": b'{"model_type": "gpt2"}',
        f"{repo}/model.safetensors.index.json": json.dumps(index).encode(),
        f"{repo}/m-1.safetensors": b"1",
        f"{repo}/m-2.safetensors": b"2",
        f"{repo}/pytorch_model.bin": b"not wanted",
    }
    opened = hub_at(hub.address, tmp_path, repo, "step30")
    found = fetch_place(opened, "huggingface", "", {})
    assert list(found["files"]) == [
        "config.json",
        "model.safetensors.index.json",
        "m-1.safetensors",
        "m-2.safetensors",
    ]
    assert opened.fetch("config.json").parent == opened.fetch("m-2.safetensors").parent
    inside = hub_at(hub.address, tmp_path, repo)
    with pytest.raises(UserError, match=r"owner/model-seed1 at c+ has no weights"):
        fetch_place(inside, "huggingface", "sub", {})
