"""Files that others made: nothing in them is run, and what is wrong with them is said."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from headstability.errors import UserError
from headstability.hub.tensors import check_sha256, read_state
from headstability.storage.files import sha256_file
from headstability.text.prompts import prompts_from_file, unpickle_texts
from headstability.text.tokenizers import train_tokenizer

STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}


class Trap:
    """Creates a file when it is unpickled by a careless reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_lists_of_strings(protocol):
    texts = ["one", "two\nlines", "drei ü", "", "one"]
    assert unpickle_texts(pickle.dumps(texts, protocol)) == texts


class Text(str):
    pass


@pytest.mark.parametrize(
    "value", [("a", "b"), "text", {"a": "b"}, [1], [b"a"], [["a"]], [None], {"a"}, [Text("a")]]
)
def test_other_pickles_are_refused(value):
    with pytest.raises(ValueError, match="not a pickled list of strings"):
        unpickle_texts(pickle.dumps(value))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_code_is_refused_and_not_run(protocol, tmp_path):
    for value in (["a", Trap(tmp_path / "sprung")], Trap(tmp_path / "sprung")):
        data = pickle.dumps(value, protocol)
        with pytest.raises(ValueError, match="it asks for"):
            unpickle_texts(data)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(data)
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_damaged_pickles(tmp_path):
    data = pickle.dumps(["one", "two"])
    for cut in range(len(data)):
        with pytest.raises(ValueError, match="not a pickled list of strings"):
            unpickle_texts(data[:cut])


def test_prompts_from_a_pickle(tmp_path):
    tokenizer = train_tokenizer(["some text of words"], 260)
    texts = ["some text", "words\nof text"]
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(texts))
    found = prompts_from_file(tmp_path / "p.pkl", tokenizer, 64)
    assert [tokenizer.decode(ids) for ids in found] == texts
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match=r"bad\.pkl cannot be read: not a pickled list of strings"):
        prompts_from_file(tmp_path / "bad.pkl", tokenizer, 64)


# --- weights ------------------------------------------------------------------------------


def test_weights_of_both_formats(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    torch.save(STATE, tmp_path / "a.pt")
    torch.save(STATE, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "a.pt", "old.bin"):
        found = read_state(tmp_path / name)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[key], value) for key, value in STATE.items())
        assert found["b"].dtype == torch.float16


def test_weights_with_code_are_refused_and_not_run(tmp_path):
    torch.save({"a": Trap(tmp_path / "sprung")}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="holds more than tensors, or is damaged") as error:
        read_state(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.ones(1)], "holds a list, not a mapping"),
        ({"a": torch.ones(1), "step": 3}, "'step' is a int, not a tensor"),
        ({"state": {"a": torch.ones(1)}}, "'state' is a dict, not a tensor"),
    ],
)
def test_other_contents_are_refused(value, message, tmp_path):
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(UserError, match=message):
        read_state(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "old.bin"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_weights(name, share, tmp_path):
    test_weights_of_both_formats(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"fetch the file again") as error:
        read_state(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.pt is missing"):
        read_state(tmp_path / "none.pt")


def test_hashes(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"weights")
    right = sha256_file(path)
    assert check_sha256(path, right.upper()) == right
    with pytest.raises(UserError, match=rf"a\.pt has sha256 {right}, expected {'0' * 64}"):
        check_sha256(path, "0" * 64)
