"""This project's models in the layout of GPT-2 on the Hugging Face hub, written and read.

They differ from GPT-2 in two ways, which `modeling_headstability.py` implements: the unembedding
has a bias, and layers may lack an MLP.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..hub.tensors import refuse_unknown, take
from ..models.shape import Shape
from ..models.transformer import LAYER_NORM_EPS, Transformer

MODEL_TYPE = "headstability"
# MLP activations: our names and those of transformers.
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
# Modules, outside of layers and in a layer: our names and theirs. In layers they store [in, out].
_OUTER = {
    "embed": "transformer.wte",
    "position": "transformer.wpe",
    "norm_final": "transformer.ln_f",
    "unembed": "lm_head",
}
_LAYER = {
    "norm_attention": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "norm_mlp": "ln_2",
    "mlp_in": "mlp.c_fc",
    "mlp_out": "mlp.c_proj",
}


def config_of(shape: Shape, bos: int) -> dict[str, Any]:
    """The config.json of a model; its beginning token, with id `bos`, also ends texts."""
    return {
        "model_type": MODEL_TYPE,
        "architectures": ["HeadstabilityForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_headstability.HeadstabilityConfig",
            "AutoModelForCausalLM": "modeling_headstability.HeadstabilityForCausalLM",
        },
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_embd": shape.d_model,
        "n_inner": 4 * shape.d_model,
        "n_positions": shape.context,
        "vocab_size": shape.vocabulary,
        "mlp": shape.mlp,
        "activation_function": _ACTIVATIONS[shape.activation],
        "layer_norm_epsilon": LAYER_NORM_EPS,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": bos,
        "eos_token_id": bos,
        "dtype": "float32",
    }


def to_gpt2(model: Transformer) -> dict[str, Tensor]:
    """A model's weights under GPT-2's names; `from_gpt2` restores them to the bit."""
    places = _places(model).items()
    return {name: place.detach().cpu().contiguous().clone() for name, place in places}


def from_gpt2(config: Mapping[str, Any], state: Mapping[str, Tensor], where: str) -> Transformer:
    """The model of an exported folder, from its config.json and its tensors.

    Raises UserError, which begins with `where`, if a key or a tensor is missing or wrong.
    """
    ours = {theirs: name for name, theirs in _ACTIVATIONS.items()}
    try:
        shape = Shape(
            layers=config["n_layer"],
            heads=config["n_head"],
            d_model=config["n_embd"],
            mlp=config["mlp"],
            context=config["n_positions"],
            vocabulary=config["vocab_size"],
            activation=ours[config["activation_function"]],
        )
    except KeyError as error:
        raise UserError(f"{where}: its config.json lacks {error} or has no such value") from None
    model = Transformer(shape)
    places = _places(model)
    refuse_unknown(state, places, where)
    for name, place in places.items():
        place.copy_(take(state, name, tuple(place.shape), where))
    return model.eval().requires_grad_(False)


def _places(model: Transformer) -> dict[str, Tensor]:
    """A model's weights under GPT-2's names: views in GPT-2's layout."""
    places = {}
    for name, tensor in model.state_dict().items():
        module, kind = name.rsplit(".", 1)
        if module in _OUTER:
            places[f"{_OUTER[module]}.{kind}"] = tensor
        else:
            _, layer, module = module.split(".", 2)
            matrix = tensor.T if tensor.ndim == 2 else tensor
            places[f"transformer.h.{layer}.{_LAYER[module]}.{kind}"] = matrix
    return places
