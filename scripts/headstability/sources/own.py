"""This project's models in the format of the Hugging Face hub, written and read back.

The format is GPT-2's with two differences, which `exports/modeling_headstability.py` tells the
library `transformers`: an unembedding with bias, and layers that may lack an MLP.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..model import LAYER_NORM_EPS, Transformer
from ..shape import Shape
from .tensors import refuse_unknown, take

MODEL_TYPE = "headstability"
# Our names of MLP activations, and those of transformers.
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
# Our names of a layer's tensors and theirs; GPT-2 keeps matrices as [in, out].
_LAYER = {
    "norm_attention": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
}
_MLP = {"norm_mlp": "ln_2", "mlp_in": "mlp.c_fc", "mlp_out": "mlp.c_proj"}


def config_of(shape: Shape, bos: int) -> dict[str, Any]:
    """The config.json of a model.

    Args:
        shape: of the model.
        bos: id of its beginning token, which also ends texts.
    """
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
    """A model's weights by GPT-2's names, contiguous; `from_gpt2` gives them back to the bit."""
    own = model.state_dict()
    return {
        theirs: (own[ours].T if transposed else own[ours]).detach().cpu().contiguous().clone()
        for ours, (theirs, transposed) in _names(model.shape).items()
    }


def from_gpt2(config: Mapping[str, Any], state: Mapping[str, Tensor], where: str) -> Transformer:
    """The model of an exported folder.

    Args:
        config: its config.json.
        state: its tensors.
        where: where they come from, for messages.

    Raises:
        UserError: a key of the config or a tensor is missing or wrong; names it.
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
    names = _names(shape)
    refuse_unknown(state, {theirs for theirs, _ in names.values()}, where)
    loaded = {}
    for name, wanted in model.state_dict().items():
        theirs, transposed = names[name]
        size = tuple(wanted.T.shape if transposed else wanted.shape)
        tensor = take(state, theirs, size, where)
        loaded[name] = tensor.T if transposed else tensor
    model.load_state_dict(loaded)
    return model.eval().requires_grad_(False)


def _names(shape: Shape) -> dict[str, tuple[str, bool]]:
    """Their name of each of our tensors, and whether it is transposed there."""
    names = {
        "embed.weight": ("transformer.wte.weight", False),
        "position.weight": ("transformer.wpe.weight", False),
        "unembed.weight": ("lm_head.weight", False),
        "unembed.bias": ("lm_head.bias", False),
        "norm_final.weight": ("transformer.ln_f.weight", False),
        "norm_final.bias": ("transformer.ln_f.bias", False),
    }
    for layer in range(shape.layers):
        for ours, theirs in (_LAYER | _MLP if shape.mlp else _LAYER).items():
            for kind in ("weight", "bias"):
                matrix = kind == "weight" and "norm" not in ours
                name = f"transformer.h.{layer}.{theirs}.{kind}"
                names[f"blocks.{layer}.{ours}.{kind}"] = (name, matrix)
    return names
