"""Weights trained elsewhere as checkpoints of a cell (docs/models.md, "Models trained elsewhere").

An import leaves what training leaves, except for the training table: checkpoints and a provenance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..analysis.perplexity import summed_nll
from ..errors import UserError
from ..hub.folders import CONFIG, open_folder
from ..hub.tensors import check_sha256, read_state
from ..models.checkpoints import FOREIGN_CONFIG, load_model, write_tensors, write_weights
from ..models.interface import LanguageModel
from ..models.precision import inference
from ..models.shape import Shape
from ..models.transformer import Transformer
from ..storage.files import sha256_file
from ..text.token_files import TokenFile
from .gpt2_layout import MODEL_TYPE, from_gpt2
from .transformerlens import from_state_dict


@dataclass(frozen=True)
class Origin:
    """Where one cell's weights at one step come from."""

    type: str  # transformerlens (a file) or huggingface (a folder)
    path: Path  # the file or folder on this machine
    label: str  # its name in the config and the provenance
    activation: str = "gelu"  # of the MLP, for TransformerLens


def files_of(origin: Origin) -> dict[str, Path]:
    """The files of an origin by the names that the config and the provenance use."""
    if origin.type == "transformerlens":
        return {origin.label: origin.path}
    folder = open_folder(origin.path)
    paths = [origin.path / CONFIG, *folder.weights]
    return {f"{origin.label}/{path.name}".lstrip("/"): path for path in paths}


def import_weights(
    origin: Origin,
    sha256: Mapping[str, str],
    wanted: Mapping[str, Any],
    header: dict[str, Any],
    path: str | Path,
) -> dict[str, Any]:
    """Write one step's weights as a checkpoint with a `header` to `path`.

    `sha256` has the hashes required of files, by their names in the config, and `wanted` what the
    config says of the architecture, by the names of `Shape`. Returns `sha256` of the weights,
    `files` with the hash of each, and the model's `shape`. Raises UserError, which names file and
    tensor, if a file is missing, damaged or not what the config says.
    """
    files = {}
    for name, file in files_of(origin).items():
        if name in sha256:
            files[name] = check_sha256(file, sha256[name], name)
        elif not file.is_file():
            raise UserError(f"{file} is missing")
        else:
            files[name] = sha256_file(file)
    model, config, tensors = _read(origin)
    shape = asdict(model.shape)
    _check_shape(shape, wanted, str(origin.path))
    if isinstance(model, Transformer):
        weights = write_weights(path, model, header)
    else:
        weights = write_tensors(path, tensors, {**header, FOREIGN_CONFIG: config})
    return {"sha256": weights, "files": files, "shape": shape}


def _read(origin: Origin) -> tuple[LanguageModel, dict[str, Any], dict[str, torch.Tensor]]:
    """The model; if it is foreign, also its config and its tensors, each once."""
    if origin.type == "transformerlens":
        state = read_state(origin.path)
        return from_state_dict(state, origin.path, origin.activation), {}, {}
    from ..models import huggingface  # noqa: PLC0415 - slow to import, seldom needed

    folder = open_folder(origin.path)
    state = huggingface.read_weights(folder)
    if folder.config["model_type"] == MODEL_TYPE:
        return from_gpt2(folder.config, state, str(origin.path)), {}, {}
    dtype = huggingface.stored_type(state)
    model = huggingface.foreign_model(folder.config, state, str(origin.path), dtype)
    return model, dict(folder.config), huggingface.own_tensors(model)


def _check_shape(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    for key, value in wanted.items():
        here = found.get(key, getattr(Shape, key, True))  # a foreign model always has an MLP
        if here != value:
            raise UserError(
                f"{where} has {key} = {here}, the config says {value}: correct the "
                f"architecture's {key} or its source"
            )


def check_text(shape: Mapping[str, Any], tokens: TokenFile, context: int, label: str) -> None:
    """Check that a model takes the study's token ids and rows of `context` tokens.

    Raises UserError, which says what key to change, if it does not.
    """
    if tokens.vocabulary > shape["vocabulary"]:
        raise UserError(
            f"{label} knows {shape['vocabulary']} token ids, the study's tokenizer has "
            f"{tokens.vocabulary}: set tokenizer.path to the tokenizer it was trained with"
        )
    if context > shape["context"]:
        raise UserError(
            f"{label} takes at most {shape['context']} positions, training.context is {context}: "
            "lower it"
        )


def held_out_loss(
    checkpoint: str | Path, rows: np.ndarray, bos: int, device: torch.device
) -> float:
    """Mean negative log-likelihood of an imported checkpoint over predicted tokens, in nats.

    `rows` [n, context] are token ids, BOS first; BOS, whose id is `bos`, is never a target.
    """
    model, _ = load_model(checkpoint)
    model = model.to(device)
    total, count = 0.0, 0
    with inference(model.modules(), device):
        for row in rows:
            tokens = torch.from_numpy(row)[None].to(device)
            used = tokens[:, 1:] != bos
            total += summed_nll(model, model.stream(tokens[:, :-1]), tokens[:, 1:], used)
            count += int(used.sum())
    return total / count


def provenance_of(
    header: Mapping[str, Any],
    steps: Sequence[int],
    imported: Sequence[Mapping[str, Any]],
    source: Mapping[str, Any],
    held_out: tuple[float, int],
) -> dict[str, Any]:
    """The provenance of an imported cell.

    `header` has cell, weight_decay, init_seed and data_seed, `imported` what `import_weights`
    returned for each step, `source` where the weights were according to the config, with their
    commit, and `held_out` the loss of the last step and the number of rows it was measured on.
    """
    libraries = ("torch", "transformers", "safetensors")
    by_step = {f"step{step}": one for step, one in zip(steps, imported, strict=True)}
    return {
        **header,
        "step": steps[-1],
        "shape": imported[-1]["shape"],
        "source": {**source, "files": {step: one["files"] for step, one in by_step.items()}},
        "torch_versions": [version("torch")],
        "versions": {name: version(name) for name in libraries},
        "held_out_loss": held_out[0],
        "held_out_rows": held_out[1],
        "weights_sha256": {step: one["sha256"] for step, one in by_step.items()},
    }
