"""Folders in the format of the Hugging Face hub, read safely, written and read back."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_adapters import MODELS, random_net, tokens_of
from test_model import SHAPES, random_model
from test_transformerlens import TANH

from headstability.errors import UserError
from headstability.exchange import modeling_headstability
from headstability.exchange.exporting import write_huggingface
from headstability.exchange.gpt2_layout import from_gpt2
from headstability.hub.folders import open_folder
from headstability.models.checkpoints import (
    FOREIGN_CONFIG,
    load_model,
    write_tensors,
    write_weights,
)
from headstability.models.families import FAMILIES
from headstability.models.huggingface import (
    foreign_model,
    own_tensors,
    read_weights,
    stored_type,
)
from headstability.storage.files import check_sidecar, sha256_file


def saved(net, folder):
    """Save a model as transformers does."""
    net.save_pretrained(folder)
    return folder


def read(folder):
    opened = open_folder(folder)
    return foreign_model(opened.config, read_weights(opened), str(folder))


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_is_read_back(name, tmp_path):
    net = random_net(name)
    model = read(saved(net, tmp_path))
    assert torch.equal(model(tokens_of()), net(tokens_of(), use_cache=False).logits)


@pytest.mark.parametrize("name", FAMILIES)
def test_through_a_checkpoint(name, tmp_path):
    """As an import writes it: each tensor once, in the type it came in."""
    net = random_net(name)
    for parameter in net.parameters():
        parameter.copy_(parameter.half())
    folder = open_folder(saved(copy.deepcopy(net).half(), tmp_path / "model"))
    state = read_weights(folder)
    assert stored_type(state) == torch.float16
    model = foreign_model(folder.config, state, "it", stored_type(state))
    header = {FOREIGN_CONFIG: model.net.config.to_dict()}
    write_tensors(tmp_path / "step1.safetensors", own_tensors(model), header)
    again, found = load_model(tmp_path / "step1.safetensors")
    assert found[FOREIGN_CONFIG]["model_type"] == net.config.model_type
    assert again.net.dtype == torch.float32
    assert torch.equal(again(tokens_of()), net(tokens_of(), use_cache=False).logits)


def test_a_checkpoint_of_our_own_is_still_ours(tmp_path):
    model = random_model(SHAPES[0], dtype=torch.float32)
    write_weights(tmp_path / "step1.safetensors", model, {"cell": "c"})
    again, header = load_model(tmp_path / "step1.safetensors")
    assert header["cell"] == "c"
    assert torch.equal(again(tokens_of()), model(tokens_of()))


def test_shards_and_old_formats(tmp_path):
    net = random_net("llama")
    state = net.state_dict()
    names = sorted(state)
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(net.config.to_dict()))
    places = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(names)}
    for file in set(places.values()):
        torch.save({n: state[n] for n in names if places[n] == file}, folder / file)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert torch.equal(read(folder)(tokens_of()), net(tokens_of()).logits)
    (folder / "pytorch_model-1.bin").unlink()
    with pytest.raises(UserError, match=r"pytorch_model-1\.bin is missing"):
        read(folder)
    index.write_text(json.dumps({"weight_map": {"a": "../../a.bin"}}))
    with pytest.raises(UserError, match="is no file beside it"):
        read(folder)


def test_names_without_prefix_as_in_the_first_gpt2(tmp_path):
    net = random_net("gpt2")
    state = {k.removeprefix("transformer."): v for k, v in net.state_dict().items()}
    state = {k: v.clone() for k, v in state.items() if k != "lm_head.weight"}
    state["h.0.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
    model = foreign_model(net.config.to_dict(), state, "model")
    assert torch.equal(model(tokens_of()), net(tokens_of()).logits)


def change_tensor(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


DENSE = "gpt_neox.layers.1.attention.dense.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: change_tensor(d, lambda s: s.pop(DENSE)), f"has no tensor '{DENSE}'"),
        (
            lambda d: change_tensor(d, lambda s: s.update({DENSE: s[DENSE][:-1].clone()})),
            rf"'{DENSE}' has shape \(15, 16\), its config\.json needs \(16, 16\)",
        ),
        (
            lambda d: change_tensor(d, lambda s: s.update(extra=torch.ones(1))),
            "has the tensor 'extra', for which its config.json has no place",
        ),
        (
            lambda d: change_config(d, model_type="bert"),
            "architecture 'bert' is not supported; supported are gpt2, gpt_neox, llama",
        ),
        (lambda d: change_config(d, model_type=None), r"config\.json names no model_type"),
        (
            lambda d: change_config(d, quantization_config={"quant_method": "gptq"}),
            "quantized weights are not supported",
        ),
        (
            lambda d: change_config(d, num_attention_heads=5),
            "transformers cannot build this model .* not divisible",
        ),
        (lambda d: (d / "config.json").write_text("{"), r"config\.json is not readable JSON"),
        (lambda d: (d / "config.json").unlink(), r"config\.json is missing: it is no folder of"),
        (lambda d: (d / "model.safetensors").unlink(), "has no weights: none of model.safetensors"),
        (
            lambda d: (d / "model.safetensors").write_bytes(
                (d / "model.safetensors").read_bytes()[:-100]
            ),
            r"model\.safetensors is no complete weights file",
        ),
    ],
)
def test_what_is_wrong_is_named(change, message, tmp_path):
    folder = saved(random_net("gpt_neox"), tmp_path)
    change(folder)
    with pytest.raises(UserError, match=message) as error:
        read(folder)
    assert str(tmp_path) in str(error.value)


def test_no_code_of_a_folder_is_run(tmp_path):
    folder = saved(random_net("gpt2"), tmp_path)
    (folder / "evil.py").write_text("raise SystemExit('run')")
    change_config(folder, auto_map={"AutoModelForCausalLM": "evil.Model"})
    assert read(folder)(tokens_of()).shape == (3, 17, 50)


# --- exports ------------------------------------------------------------------------------


def exported(model, folder):
    names = {
        "config": "config.json",
        "weights": "model.safetensors",
        "modelling": "modeling_headstability.py",
    }
    write_huggingface(model, 3, {key: folder / name for key, name in names.items()})
    return folder


OPEN = """
import sys, torch
from transformers import AutoModelForCausalLM
for folder in sys.argv[2:]:
    net = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, attn_implementation="eager"
    ).eval()
    with torch.inference_mode():
        out = net(torch.load(sys.argv[1]), output_attentions=True)
    torch.save({"logits": out.logits, "attentions": list(out.attentions)}, folder + "/out.pt")
"""


def test_transformers_opens_exports(tmp_path):
    """In a process of its own, with nothing of this project on its path."""
    models = [random_model(shape, dtype=torch.float32) for shape in (SHAPES[1], TANH)]
    folders = [exported(model, tmp_path / str(i)) for i, model in enumerate(models)]
    torch.save(tokens_of(), tmp_path / "tokens.pt")
    command = [sys.executable, "-c", OPEN, tmp_path / "tokens.pt", *folders]
    environment = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for model, folder in zip(models, folders, strict=True):
        found = torch.load(folder / "out.pt")
        assert torch.allclose(found["logits"], model(tokens_of()), atol=1e-4)
        traced = list(model.trace(tokens_of()))
        assert len(traced) == len(found["attentions"])
        for attention, layer in zip(found["attentions"], traced, strict=True):
            assert torch.allclose(attention, layer.pattern, atol=1e-5)


@pytest.mark.parametrize("shape", [*SHAPES, TANH])
def test_export_and_import_give_the_same_bits(shape, tmp_path):
    model = random_model(shape, dtype=torch.float32)
    folder = open_folder(exported(model, tmp_path))
    again = from_gpt2(folder.config, read_weights(folder), str(tmp_path))
    assert again.shape == shape
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    for path in sorted(tmp_path.glob("*.*")):
        if not path.name.startswith("."):
            check_sidecar(path, sha256_file(path))


def test_the_modelling_file_computes_the_same_model():
    """The class itself, without a folder: its parameters are those the export writes."""
    config = modeling_headstability.HeadstabilityConfig(
        mlp=False, n_layer=1, n_head=2, n_embd=8, n_positions=8, vocab_size=10
    )
    net = modeling_headstability.HeadstabilityForCausalLM(config)
    names = set(net.state_dict())
    assert "lm_head.bias" in names
    assert not any("mlp" in name or "ln_2" in name for name in names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, s: s.pop("lm_head.bias"), r"has no tensor 'lm_head\.bias'"),
        (lambda c, s: s.update(other=torch.ones(1)), "has the tensor 'other'"),
        (lambda c, s: c.pop("mlp"), r"its config\.json lacks 'mlp'"),
        (lambda c, s: c.update(activation_function="relu"), r"its config\.json lacks 'relu'"),
        (
            lambda c, s: c.update(n_layer=1),
            r"has the tensor 'transformer\.h\.1\.attn\.c_attn\.bias' and 11 more",
        ),
    ],
)
def test_a_changed_export_is_refused(change, message, tmp_path):
    folder = open_folder(exported(random_model(SHAPES[0], dtype=torch.float32), tmp_path))
    config, state = dict(folder.config), read_weights(folder)
    change(config, state)
    with pytest.raises(UserError, match=message):
        from_gpt2(config, state, "model")
