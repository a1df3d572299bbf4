import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_model import SHAPES, random_model

from headstability.errors import DamagedFile, UserError
from headstability.models.checkpoints import (
    read_model,
    read_tensors,
    weights_sha256,
    write_tensors,
    write_weights,
)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "step5.safetensors"
    write_weights(path, random_model(SHAPES[0], dtype=torch.float32), {"cell": "a", "step": 5})
    return path


def test_round_trip(path):
    model, header = read_model(path)
    assert header["step"] == 5
    assert header["shape"]["layers"] == SHAPES[0].layers
    original = random_model(SHAPES[0], dtype=torch.float32)
    assert header["sha256"] == weights_sha256(original.state_dict())
    tokens = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(tokens), original(tokens))
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_same_bytes_every_time(path, tmp_path):
    again = tmp_path / "again.safetensors"
    for _ in range(10):
        write_weights(again, random_model(SHAPES[0], dtype=torch.float32), {"step": 5, "cell": "a"})
        assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    truncated = path.read_bytes()
    with pytest.raises(DamagedFile, match=r"step5\.safetensors is damaged") as error:
        read_model(path)
    assert error.value.path == path
    assert error.value.reason.startswith("not a complete checkpoint (")
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == truncated


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_flipped_bit(path, place):
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedFile, match=r"is damaged: its weights have sha256 \w+, recorded is"):
        read_model(path)
    assert path.read_bytes() == bytes(data)


def test_an_edited_header(path):
    """Half as many heads of twice the width fit the same tensors."""
    data = path.read_bytes()
    edited = data.replace(rb"\"heads\": 4", rb"\"heads\": 2")
    assert edited != data
    path.write_bytes(edited)
    with pytest.raises(DamagedFile, match=r"is damaged: its header has sha256 \w+, recorded is"):
        read_model(path)


def test_a_header_with_numbers_for_keys(tmp_path):
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"a": torch.ones(1)}, {"kept": {9: "x", 10: "y"}, "pair": (1, 2.5)})
    _, header = read_tensors(path)
    assert header["kept"] == {"9": "x", "10": "y"}
    assert header["pair"] == [1, 2.5]


def test_foreign_files(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_tensors(tmp_path / "none.safetensors")
    pickle = tmp_path / "weights.safetensors"
    torch.save({"a": torch.ones(2)}, pickle)
    with pytest.raises(DamagedFile, match="is damaged"):
        read_tensors(pickle)


def test_hash_sees_names_types_shapes_and_values():
    base = {"a": torch.arange(4.0), "b": torch.ones(2)}
    variants = [
        {"a": torch.arange(4.0), "c": torch.ones(2)},
        {"a": torch.arange(4.0).double(), "b": torch.ones(2)},
        {"a": torch.arange(4.0).reshape(2, 2), "b": torch.ones(2)},
        {"a": -torch.arange(4.0), "b": torch.ones(2)},
    ]
    hashes = {weights_sha256(item) for item in [base, *variants]}
    assert len(hashes) == 5
    reordered = {"b": torch.ones(2), "a": torch.arange(4.0)}
    assert weights_sha256(reordered) == weights_sha256(base)


def test_scalars_and_empty_tensors(tmp_path):
    tensors = {"scalar": torch.tensor(3.0), "empty": torch.empty(0, 6, dtype=torch.float64)}
    path = tmp_path / "odd.safetensors"
    write_tensors(path, tensors, {})
    read, _ = read_tensors(path)
    assert read["scalar"] == 3
    assert read["empty"].shape == (0, 6)


def test_reading_draws_no_weights_and_loads_no_compiler(path):
    program = (
        "import sys, torch\n"
        "from headstability.models.checkpoints import load_model\n"
        "state = torch.get_rng_state()\n"
        f"load_model({str(path)!r})\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=SCRIPTS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
