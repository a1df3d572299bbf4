"""State dicts of TransformerLens: against naive loops over the documented layout."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from oracles_foreign import hooked_transformer
from test_model import SHAPES, random_model

from headstability.analysis.activations import activations
from headstability.errors import UserError
from headstability.exchange.exporting import write_transformerlens
from headstability.exchange.transformerlens import from_state_dict, to_state_dict
from headstability.hub.tensors import read_state
from headstability.models.shape import Shape
from headstability.storage.stores import write_cache

TANH = dataclasses.replace(SHAPES[0], activation="gelu_tanh")


def documented_state(shape: Shape, seed=0, norms=True):
    """A state dict written from the layout TransformerLens documents, with random numbers."""
    rng = np.random.default_rng(seed)
    d, heads, width = shape.d_model, shape.heads, shape.d_model // shape.heads

    def draw(*size):
        return torch.tensor(rng.normal(0, 0.4, size), dtype=torch.float32)

    state = {
        "embed.W_E": draw(shape.vocabulary, d),
        "pos_embed.W_pos": draw(shape.context, d),
        "unembed.W_U": draw(d, shape.vocabulary),
        "unembed.b_U": draw(shape.vocabulary),
    }
    if norms:
        state |= {"ln_final.w": draw(d), "ln_final.b": draw(d)}
    for layer in range(shape.layers):
        block = {f"attn.W_{x}": draw(heads, d, width) for x in "QKV"}
        block |= {f"attn.b_{x}": draw(heads, width) for x in "QKV"}
        block |= {"attn.W_O": draw(heads, width, d), "attn.b_O": draw(d)}
        block["attn.mask"] = torch.ones(shape.context, shape.context).tril().bool()
        block["attn.IGNORE"] = torch.tensor(-1e5)
        if shape.mlp:
            block |= {"mlp.W_in": draw(d, 4 * d), "mlp.b_in": draw(4 * d)}
            block |= {"mlp.W_out": draw(4 * d, d), "mlp.b_out": draw(d)}
        for norm in (["ln1", "ln2"] if shape.mlp else ["ln1"]) if norms else []:
            block |= {f"{norm}.w": draw(d), f"{norm}.b": draw(d)}
        state |= {f"blocks.{layer}.{name}": value for name, value in block.items()}
    return state


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES, TANH])
def test_imported_models_agree_with_naive_loops(shape, norms):
    """Absent LayerNorm tensors, as in files where they were folded away, are 1 and 0."""
    state = documented_state(shape, norms=norms)
    model = from_state_dict(state, "final.pt", shape.activation)
    assert model.shape == shape
    model = model.double()
    prompt = [3, 1, 4, 1, 5, 9, 2, 6]
    patterns, zs, mids, logits = hooked_transformer(state, prompt, shape.activation)
    tokens = torch.tensor([prompt])
    assert np.allclose(model(tokens)[0], logits, atol=1e-9)
    for layer, found in enumerate(model.trace(tokens)):
        assert np.allclose(found.pattern[0], patterns[layer], atol=1e-9)
        assert np.allclose(found.z[0], zs[layer], atol=1e-9)
        assert np.allclose(found.resid_mid[0], mids[layer], atol=1e-9)


def test_the_two_variants_of_gelu_differ():
    state, tokens = documented_state(SHAPES[0]), torch.tensor([[3, 1, 4]])
    exact, tanh = (from_state_dict(state, "f", name)(tokens) for name in ("gelu", "gelu_tanh"))
    assert 1e-6 < (exact - tanh).abs().max() < 1e-1


@pytest.mark.parametrize("shape", [*SHAPES, TANH])
def test_export_and_import_give_the_same_bits(shape, tmp_path):
    model = random_model(shape, dtype=torch.float32)
    path = tmp_path / "final.pt"
    write_transformerlens(model, path, tmp_path / "config.json")
    again = from_state_dict(read_state(path), path, shape.activation)
    assert again.shape == shape
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    prompts, caches = [[3, 1, 4, 1], [3, 5]], []
    for number, one in enumerate((model, again)):
        caches.append(tmp_path / f"{number}.zarr.zip")
        write_cache(caches[-1], activations(one, prompts, torch.device("cpu")), {"cell": "c"})
    assert caches[0].read_bytes() == caches[1].read_bytes()


def test_an_export_is_the_documented_layout(tmp_path):
    model = random_model(SHAPES[0], dtype=torch.float32)
    state = to_state_dict(model)
    expected = documented_state(SHAPES[0])
    assert state.keys() == expected.keys()
    buffers = ("attn.mask", "attn.IGNORE")
    assert all(state[k].shape == v.shape for k, v in expected.items() if not k.endswith(buffers))
    write_transformerlens(model, tmp_path / "a.pt", tmp_path / "config.json")
    write_transformerlens(model, tmp_path / "b.pt", tmp_path / "config.json")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["d_head"] * config["n_heads"] == config["d_model"] == SHAPES[0].d_model


def changed(**changes):
    state = documented_state(SHAPES[0])
    for name, change in changes.items():
        key = name.replace("__", ".")
        if change is None:
            del state[key]
        else:
            state[key] = change(state.get(key))
    return state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks__1__attn__W_O": None}, r"final\.pt has no tensor 'blocks\.1\.attn\.W_O'"),
        ({"unembed__b_U": None}, r"final\.pt has no tensor 'unembed\.b_U'"),
        ({"embed__W_E": None}, r"final\.pt has no tensor 'embed\.W_E': it is no TransformerLens"),
        ({"embed__W_E": lambda t: t[0]}, r"'embed\.W_E' has 1 dimensions, not 2"),
        (
            {"blocks__0__mlp__W_in": lambda t: t[:, :-1]},
            r"'blocks\.0\.mlp\.W_in' has shape \(16, 63\), expected \(16, 64\)",
        ),
        ({"blocks__0__attn__W_Q": lambda t: t[..., :-1]}, "4 heads of width 3 do not fill d_model"),
        ({"blocks__0__ln1__w": lambda t: t[:-1]}, r"'blocks\.0\.ln1\.w' has shape \(15,\)"),
        (
            {"blocks__0__mlp__W_gate": lambda _: torch.ones(2)},
            r"the tensor 'blocks\.0\.mlp\.W_gate'",
        ),
        ({"unembed__b_U": lambda t: t.long()}, r"'unembed\.b_U' has type torch\.int64"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        from_state_dict(changed(**changes), "final.pt")


@pytest.mark.long
@pytest.mark.parametrize("shape", [*SHAPES, TANH])
def test_transformerlens_opens_an_export(shape, tmp_path):
    """Needs an environment with transformer-lens 3.9.0, which this project does not install."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig  # noqa: PLC0415

    model = random_model(shape, dtype=torch.float32)
    write_transformerlens(model, tmp_path / "final.pt", tmp_path / "config.json")
    config = json.loads((tmp_path / "config.json").read_text())
    theirs = HookedTransformer(HookedTransformerConfig.from_dict(config))
    theirs.load_state_dict(torch.load(tmp_path / "final.pt", weights_only=True), strict=True)
    tokens = torch.randint(0, shape.vocabulary, (2, 20))
    logits, cache = theirs.run_with_cache(tokens)
    assert torch.allclose(logits, model(tokens), atol=1e-4)
    for layer, found in enumerate(model.trace(tokens)):
        assert torch.allclose(cache["pattern", layer], found.pattern, atol=1e-5)
        assert torch.allclose(cache["z", layer].transpose(1, 2), found.z, atol=1e-5)
        name = "resid_mid" if shape.mlp else "resid_post"
        assert torch.allclose(cache[name, layer], found.resid_mid, atol=1e-5)
