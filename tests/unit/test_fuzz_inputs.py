"""Damaged and malicious files: refused with one message, nothing run, nothing lost.

FUZZ_EXAMPLES=500 damages each kind of file so often, in other places every time.
"""

import json
import os
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch
from test_model import SHAPES, random_model
from test_safe_reading import Trap

from headstability.analysis.activations import activations
from headstability.analysis.similarities import condition_similarity, open_similarity
from headstability.errors import DamagedFile, UserError
from headstability.models.checkpoints import (
    load_model,
    read_tensors,
    weights_sha256,
    write_tensors,
    write_weights,
)
from headstability.storage.files import (
    check_sidecar,
    read_csv,
    read_json,
    set_aside,
    write_csv,
    write_json,
)
from headstability.storage.stores import open_cache, verify_cache, write_cache
from headstability.text.corpus import (
    Document,
    documents_from_jsonl,
    write_documents,
)
from headstability.text.encoding import write_tokens
from headstability.text.token_files import open_tokens
from headstability.text.tokenizers import (
    load_own_tokenizer,
    save_tokenizer,
    train_tokenizer,
)

LONG = int(os.environ.get("FUZZ_EXAMPLES", "0"))
TIMES = LONG or 30
SHAPE = SHAPES[0]
PROMPTS = [[3, 1, 4, 1, 5], [3, 9], [3, 2, 6, 5]]
TEXTS = ["some words of a text", "more words", "and the last of them"] * 3
REFITS = ["seed1", "seed2"]


def damaged(data, number):
    """Damage of a kind and at a place that depend on the number: never the same bytes."""
    rng = random.Random(f"{os.getpid() if LONG else ''} {number} {len(data)}")
    start = rng.randrange(len(data))
    length = rng.randrange(1, 64)
    kind = number % 6
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + data[start + length :]
    if kind == 2:
        return data[:start] + rng.randbytes(length) + data[start + length :] + b"\0"
    if kind == 3:
        return data + rng.randbytes(length)
    flipped = bytearray(data)
    flipped[start] ^= 1 << rng.randrange(8)
    return bytes(flipped)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One file of every kind, by the writers that jobs use or others would."""
    root = tmp_path_factory.mktemp("files")
    caches = []
    for number, refit in enumerate(REFITS):
        model = random_model(SHAPE, seed=number, dtype=torch.float32)
        data = activations(model, PROMPTS, torch.device("cpu"))
        attributes = {"cell": f"a/wd0/{refit}", "step": 3, "prompts": "p"}
        attributes |= {"weights_sha256": refit, "prompts_sha256": "0" * 64}
        caches.append(root / f"{refit}.zarr.zip")
        write_cache(caches[-1], data, attributes)
    write_cache(root / "similarity.zarr.zip", *condition_similarity(REFITS, caches))
    write_weights(root / "step3.safetensors", model, {"cell": "a/wd0/seed1", "step": 3})
    write_json(root / "prompts.json", {"name": "p", "tokens": PROMPTS, "bos": 3})
    write_csv(root / "table.csv", data["prompt_length"].to_series().rename("n").reset_index())
    documents = [Document(str(i), t, ("train", "held_out")[i % 2]) for i, t in enumerate(TEXTS)]
    write_documents(root / "documents.jsonl", documents)
    tokenizer = train_tokenizer(TEXTS, 300)
    save_tokenizer(tokenizer, root / "tokenizer.json")
    names = ("train.bin", "held_out.bin", "tokenizer.json", "documents.jsonl")
    paths = {name.split(".")[0]: str(root / name) for name in names}
    write_tokens(tokenizer, None, paths | {"manifest": root / "tokens.json"}, root / ".resume")
    return root


def values_of(dataset):
    return {name: (v.dtype, v.shape, v.values.tobytes()) for name, v in dataset.variables.items()}


def read_cache(path):
    cache = open_cache(path)
    verify_cache(path, cache, [str(name) for name in cache.data_vars])
    return values_of(cache), {k: v for k, v in cache.attrs.items() if k != "path"}


def read_split(path):
    found = open_tokens(path.with_name("tokens.json"), path, path.stem)
    return found.ids.tobytes(), found.bos


def read_manifest(path):
    held_out = path.with_name("held_out.bin")
    return open_tokens(path, held_out, "held_out").ids.tobytes()


def read_documents(path):
    check_sidecar(path)
    return list(documents_from_jsonl(path))


def read_checkpoint(path):
    model, header = load_model(path)
    return weights_sha256(model.state_dict()), header


OWN = {
    "seed1.zarr.zip": read_cache,
    "similarity.zarr.zip": lambda path: values_of(open_similarity(path, "a/wd0", REFITS).load()),
    "step3.safetensors": read_checkpoint,
    "prompts.json": read_json,
    "table.csv": lambda path: read_csv(path).to_csv(),
    "documents.jsonl": read_documents,
    "tokenizer.json": lambda path: load_own_tokenizer(path, None).to_str(),
    "tokens.json": read_manifest,
    "held_out.bin": read_split,
}


@pytest.fixture
def copied(files, tmp_path):
    """A copy of all files, to be damaged."""
    for path in files.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", OWN)
def test_damage_to_our_files_is_said_and_never_read_as_other_values(name, copied, capfd):
    """What does not matter, such as the dates in an archive, may differ: values may not."""
    read, path = OWN[name], copied / name
    original = path.read_bytes()
    whole = read(path)
    refused = 0
    for number in range(TIMES):
        path.write_bytes(damaged(original, number))
        before = contents(copied)
        try:
            assert read(path) == whole
        except DamagedFile as error:
            refused += 1
            message = str(error)
            assert message.startswith(f"{copied}/"), message
            assert "\n" not in message
            assert len(message) < 500 + len(str(path))
        assert contents(copied) == before
    assert refused > 0.6 * TIMES
    assert "Traceback" not in "".join(capfd.readouterr()), "nor is anything said beside"


def test_a_damaged_file_is_kept(copied):
    path = copied / "step3.safetensors"
    data = damaged(path.read_bytes(), 4)
    path.write_bytes(data)
    with pytest.raises(DamagedFile) as caught:
        read_tensors(path)
    assert "was set aside as step3.safetensors.damaged" in set_aside(caught.value)
    assert (copied / "step3.safetensors.damaged").read_bytes() == data


def test_an_intact_file_that_the_system_refuses_is_not_called_damaged(copied, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("headstability.models.checkpoints.safe_open", refused)
    monkeypatch.setattr("headstability.storage.stores.zipfile.ZipFile", refused)
    for read, name in ((read_tensors, "step3.safetensors"), (open_cache, "seed1.zarr.zip")):
        with pytest.raises(
            UserError, match=r"cannot read .*Permission denied.*left as it is"
        ) as it:
            read(copied / name)
        assert not isinstance(it.value, DamagedFile)


# --- well-formed files of ours that hold something else ------------------------------------


def other_checkpoints():
    tensors = random_model(SHAPE, dtype=torch.float32).state_dict()
    first = next(iter(tensors))
    shape = {**SHAPE.__dict__}
    yield "wrong type", {**tensors, first: tensors[first].double()}, {"shape": shape}
    yield "whole numbers", {**tensors, first: tensors[first].int()}, {"shape": shape}
    yield "wrong shape", {**tensors, first: tensors[first][1:]}, {"shape": shape}
    yield "one is absent", {k: v for k, v in tensors.items() if k != first}, {"shape": shape}
    yield "one is new", {**tensors, "new": tensors[first].clone()}, {"shape": shape}
    yield "other layers", tensors, {"shape": {**shape, "layers": SHAPE.layers + 1}}
    yield "no heads", tensors, {"shape": {**shape, "heads": 0}}
    yield "a word", tensors, {"shape": {**shape, "d_model": "wide"}}
    yield "no shape", tensors, {"shape": None}
    yield "no key", tensors, {"shape": {"layers": 2}}


@pytest.mark.parametrize(
    ("what", "tensors", "header"), list(other_checkpoints()), ids=lambda x: str(x)[:9]
)
def test_checkpoints_of_another_shape_or_type(what, tensors, header, tmp_path):
    write_tensors(tmp_path / "a.safetensors", tensors, header)
    with pytest.raises(DamagedFile, match="not a complete checkpoint"):
        load_model(tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"a"', b"[" * 10**5, b"{}", b"\xff"])
@pytest.mark.parametrize("name", ["prompts.json", "tokens.json"])
def test_json_that_is_not_ours(name, content, copied):
    (copied / name).write_bytes(content)
    with pytest.raises(DamagedFile, match=f"{name} is damaged: not the JSON that was written"):
        OWN[name](copied / name)


@pytest.mark.parametrize(
    "change",
    [
        {"splits": {}},
        {"splits": None},
        {"dtype": "object"},
        {"dtype": "<f4"},
        {"dtype": "|V0"},
        {"bos": "x"},
        {"vocabulary": None},
    ],
    ids=str,
)
def test_manifests_that_hold_something_else(change, copied):
    manifest = copied / "tokens.json"
    write_json(manifest, {**read_json(manifest), **change})
    with pytest.raises(DamagedFile, match=r"tokens\.json is damaged"):
        read_manifest(manifest)


@pytest.mark.parametrize("line", ["[]", "3", '{"text": "a"}', '{"name": "a"}', "{", "[" * 10**5])
def test_documents_that_are_none(line, tmp_path):
    (tmp_path / "documents.jsonl").write_text(f"{line}\n")
    with pytest.raises(DamagedFile, match="line 1 is not a document"):
        list(documents_from_jsonl(tmp_path / "documents.jsonl"))


# --- archives -----------------------------------------------------------------------------


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """Write an archive anew with valid checksums; `change` edits its members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def other_values(members):
    name = next(name for name in members if name.startswith("prompt_length/c"))
    members[name] = members[name][::-1]


def other_shape(members):
    content = json.loads(members["pattern/zarr.json"])
    content["shape"][-1] = 10**15
    members["pattern/zarr.json"] = json.dumps(content).encode()


def other_type(members):
    content = json.loads(members["prompt_length/zarr.json"])
    content["data_type"] = "float64"
    members["prompt_length/zarr.json"] = json.dumps(content).encode()


def climbing(members):
    members["../../outside"] = members["/tmp/outside"] = b"x"


def deep(members):
    members["zarr.json"] = b"[" * 10**5


def without_attributes(members):
    members["zarr.json"] = json.dumps({"zarr_format": 3, "node_type": "group"}).encode()


ALTERED = {
    "coordinates": other_values,
    "a huge shape": other_shape,
    "another type": other_type,
    "paths that climb": climbing,
    "nested metadata": deep,
    "no attributes": without_attributes,
    "no metadata": lambda members: members.pop("pattern/zarr.json"),
    "nothing": dict.clear,
    "a lost chunk": lambda members: members.pop(next(n for n in members if n.startswith("z/c"))),
}


@pytest.mark.parametrize("how", ALTERED)
def test_altered_archives(how, copied, tmp_path, capfd):
    path = copied / "seed1.zarr.zip"
    rewritten(path, ALTERED[how])
    before = contents(copied)
    with pytest.raises(DamagedFile):
        read_cache(path)
    assert contents(copied) == before, "nothing was unpacked"
    assert not (tmp_path.parent / "outside").exists()
    assert not Path("/tmp/outside").exists()
    assert "Traceback" not in "".join(capfd.readouterr())


def test_an_archive_that_would_fill_the_memory(copied):
    path = copied / "seed1.zarr.zip"
    rewritten(path, lambda members: members.update({"zarr.json": bytes(10**8)}), 8)
    assert path.stat().st_size < 10**6
    with pytest.raises(DamagedFile, match="compressed"):
        open_cache(path)


def test_an_archive_of_pickles_is_not_run(tmp_path):
    """The second format of zarr has arrays of objects that are unpickled when they are read."""
    array = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "compressor": None}
    array |= {"filters": [{"id": "pickle"}], "fill_value": None, "order": "C"}
    members = {".zgroup": '{"zarr_format": 2}', "pattern/.zarray": json.dumps(array)}
    members |= {"pattern/.zattrs": '{"_ARRAY_DIMENSIONS": ["layer"]}'}
    with zipfile.ZipFile(tmp_path / "bomb.zarr.zip", "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
        archive.writestr("pattern/0", pickle.dumps([Trap(tmp_path / "sprung"), [1], "|O"]))
    with pytest.raises(DamagedFile):
        read_cache(tmp_path / "bomb.zarr.zip")
    assert not (tmp_path / "sprung").exists()
