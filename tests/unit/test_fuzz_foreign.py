"""Files that others made, damaged or malicious: one message, nothing run, nothing changed."""

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save_file
from test_fuzz_inputs import SHAPE, TEXTS, TIMES, contents, damaged
from test_safe_reading import Trap
from test_transformerlens import documented_state

from headstability.errors import DamagedFile, UserError
from headstability.exchange.transformerlens import from_state_dict
from headstability.hub.folders import open_folder, weights_names
from headstability.hub.tensors import read_state
from headstability.text import datasets
from headstability.text.corpus import read_text
from headstability.text.datasets import records
from headstability.text.prompts import prompts_from_file, unpickle_texts
from headstability.text.tokenizers import encode, load_tokenizer, train_tokenizer

TOKENIZER = train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One file of every kind that a study can be given."""
    root = tmp_path_factory.mktemp("given")
    save_user_files(root, TOKENIZER)
    return root


def save_user_files(root, tokenizer):
    """What others made."""
    state = documented_state(SHAPE)
    torch.save(state, root / "final.pt")
    torch.save(state, root / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, root / "model.safetensors")
    (root / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 2}))
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    (root / "saved.json").write_text(tokenizer.to_str())
    for name in ("texts.txt", "corpus.txt"):
        (root / name).write_text("\n".join(TEXTS))
    (root / "texts.json").write_text(json.dumps(TEXTS))
    (root / "texts.pkl").write_bytes(pickle.dumps(TEXTS))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    for ending, opening in datasets._OPEN.items():
        if ending == ".zst":
            with pyarrow.CompressedOutputStream(str(root / "d.jsonl.zst"), "zstd") as handle:
                handle.write(lines.encode())
        else:
            with opening(root / f"d.jsonl{ending}", "wb") as handle:
                handle.write(lines.encode())
    table = pyarrow.table({"text": TEXTS})
    pyarrow.parquet.write_table(table, root / "d.parquet", compression="zstd")


def read_weights(path):
    return from_state_dict(read_state(path), path)


def read_tokenizer(path):
    return encode(load_tokenizer(path, None), TEXTS)


def read_prompts(path):
    return prompts_from_file(path, TOKENIZER, 64)


def read_records(path):
    return list(records(path, path.name, "text", False))


def read_index(path):
    found = weights_names("model", lambda name: name == path.name, lambda name: path)
    assert all("/" not in name for name in found)


READERS = {
    "final.pt": read_weights,
    "old.pt": read_weights,
    "model.safetensors": read_weights,
    "config.json": lambda path: open_folder(path.parent),
    "model.safetensors.index.json": read_index,
    "saved.json": read_tokenizer,
    "texts.txt": read_prompts,
    "texts.json": read_prompts,
    "texts.pkl": read_prompts,
    "corpus.txt": lambda path: read_text(path, "corpus.paths[1]"),
    **{f"d.jsonl{ending}": read_records for ending in datasets._OPEN},
    "d.parquet": read_records,
}


@pytest.mark.parametrize("name", READERS)
def test_damage_to_given_files_is_one_message(name, files, tmp_path, capfd):
    """Some damage nobody can tell, such as another letter of a text: that is read."""
    original = (files / name).read_bytes()
    for path in files.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    READERS[name](tmp_path / name)
    refused = 0
    for number in range(TIMES):
        (tmp_path / name).write_bytes(damaged(original, number))
        before = contents(tmp_path)
        try:
            READERS[name](tmp_path / name)
        except DamagedFile:
            pytest.fail("a user's file is never set aside")
        except UserError as error:
            refused += 1
            message = str(error)
            assert name in message or "corpus" in message, message
            assert len(message) < 600 + len(str(tmp_path)), message
            assert message.count("\n") < 2, message
        assert contents(tmp_path) == before
    assert refused > 0 or name == "texts.txt"
    assert "Traceback" not in "".join(capfd.readouterr())


NOT_PROMPTS = {
    "no.json": b"[" * 10**5,
    "number.json": b"9" * 5000,
    "names.json": b'{"a": 1}',
    "nul.txt": b"\0\0\0",
    "latin.txt": b"caf\xe9",
    "half.json": b'["\\ud800"]',
    "empty.pkl": b"",
    "memo.pkl": pickle.PROTO + b"\x02]r\xff\xff\xff\x7f.",
    "room.pkl": pickle.PROTO + b"\x05\x96" + (2**40).to_bytes(8, "little") + b".",
    "bytes.pkl": pickle.PROTO + b"\x04\x8e" + (2**62).to_bytes(8, "little") + b".",
    "long.pkl": pickle.PROTO + b"\x02\x8b\xff\xff\xff\x7f.",
    "name.pkl": b"cos\nsystem\n.",
    "code.pkl": b"cos\nsystem\n(S'touch sprung'\ntR.",
    "class.pkl": b"(S'touch sprung'\nios\nsystem\n.",
    "extension.pkl": pickle.PROTO + b"\x02\x82\x01.",
    "outside.pkl": b"Psomething\n.",
}


@pytest.mark.parametrize("name", NOT_PROMPTS)
def test_prompts_that_are_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(NOT_PROMPTS[name])
    if name == "nul.txt":
        assert read_prompts(tmp_path / name)
        return
    with pytest.raises(UserError, match=f"prompts file .*{name}"):
        read_prompts(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_list_that_holds_itself_in_a_pickle():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="it holds other things"):
        unpickle_texts(pickle.dumps(value))


def other_states():
    state = documented_state(SHAPE)
    name = "blocks.0.attn.W_Q"
    yield "whole numbers", {**state, name: state[name].int()}, "floating point"
    yield "wrong shape", {**state, name: state[name][:, 1:]}, "has shape"
    yield "flat", {**state, name: state[name].flatten()}, "dimensions"
    yield "no entries", {**state, "embed.W_E": torch.zeros(0, 0)}, "W_E|d_model"
    yield "layers without end", {**state, "blocks.99999999.ln1.w": state[name]}, "layers"
    yield "a path", {**state, "../../x": state[name]}, "belongs to no architecture"


OTHER_STATES = list(other_states())


@pytest.mark.parametrize(("what", "state", "message"), OTHER_STATES, ids=lambda x: str(x)[:12])
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_weights_of_another_shape_or_type(what, state, message, name, tmp_path):
    save = torch.save if name == "a.pt" else save_file
    save({key: value.clone().contiguous() for key, value in state.items()}, tmp_path / name)
    with pytest.raises(UserError, match=message):
        read_weights(tmp_path / name)


def test_pickle_bombs_in_weights_are_not_run(tmp_path):
    bombs = {"a": Trap(tmp_path / "sprung")}, Trap(tmp_path / "sprung"), [torch.zeros(1), bombs_of]
    for number, bomb in enumerate(bombs):
        torch.save(bomb, tmp_path / f"{number}.pt")
        (tmp_path / f"plain{number}.pt").write_bytes(pickle.dumps(bomb))
        (tmp_path / f"named{number}.safetensors").write_bytes(pickle.dumps(bomb))
    for path in list(tmp_path.iterdir()):
        with pytest.raises(UserError, match=path.name):
            read_state(path)
    assert not (tmp_path / "sprung").exists()


def bombs_of():
    """Something a pickle refers to by name."""


def test_weights_in_archives_with_other_paths(files, tmp_path):
    """Members outside of the archive's folder are neither unpacked nor read."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(files / "final.pt") as whole, zipfile.ZipFile(buffer, "w") as other:
        for item in whole.infolist():
            other.writestr(f"../../{item.filename}", whole.read(item))
    (tmp_path / "final.pt").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match=r"final\.pt"):
        read_weights(tmp_path / "final.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["final.pt"]


@pytest.mark.parametrize("listed", ["../x.safetensors", "/etc/passwd", "a/b", "..", "", "nul\0"])
def test_shards_that_lie_elsewhere(listed, tmp_path):
    index = {"weight_map": {"a": listed}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json lists .* no file"):
        open_folder(tmp_path)


@pytest.mark.parametrize("content", ["[" * 10**5, "3", "[]", "null", '{"model_type": 3}', "{}", ""])
def test_configs_of_models_that_are_none(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        open_folder(tmp_path)


def test_a_line_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "LONGEST", 10**6)
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"text": "' + b"a" * 10**7 + b'"}'))
    with pytest.raises(UserError, match=r"d\.jsonl\.gz: line 1 is longer than 1000000 bytes"):
        read_records(tmp_path / "d.jsonl.gz")


@pytest.mark.parametrize("line", ["[" * 10**5, '{"text": 3}', "[]", '{"text": "\\ud800"}', "\0"])
def test_lines_that_hold_something_else(line, tmp_path):
    (tmp_path / "d.jsonl").write_text(line)
    with pytest.raises(UserError, match=r"d\.jsonl"):
        read_records(tmp_path / "d.jsonl")


def test_paths_that_are_no_files(tmp_path):
    for path in (tmp_path, tmp_path / "none", Path("/dev/null")):
        for read in (read_state, read_tokenizer, read_prompts):
            with pytest.raises(UserError):
                read(path)
