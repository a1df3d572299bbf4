"""Where the weights of each cell are that were trained elsewhere: config to files."""

from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from .schema_data import HuggingFaceSource, TransformerLensSource
from .sources.folders import CONFIG, INDICES, WEIGHTS

Source = TransformerLensSource | HuggingFaceSource
# Names in braces that a place may hold.
PLACEHOLDERS = ("seed", "init_seed", "data_seed", "step", "decay", "name")


@dataclass(frozen=True)
class Place:
    """Where one cell's weights at one step are.

    Attributes:
        type: `transformerlens` or `huggingface`.
        repo: repository of the hub; empty: `path` is local.
        revision: commit, tag or branch of the repository.
        path: the file (TransformerLens) or folder (Hugging Face), in the repository or local.
    """

    type: str
    repo: str
    revision: str
    path: str


def place_of(source: Source, init_seed: int, data_seed: int, weight_decay: str, step: int) -> Place:
    """The place of one cell and step.

    Args:
        source: where the config says the architecture's weights are; checked.
        init_seed: of the refit.
        data_seed: of the refit; the same as `init_seed` unless the study crosses them.
        weight_decay: as spelled in paths.
        step: of the checkpoint.
    """
    values = {
        "seed": init_seed,
        "init_seed": init_seed,
        "data_seed": data_seed,
        "step": step,
        "decay": source.decays.get(weight_decay, ""),
        "name": source.names.get(str(init_seed), ""),
    }
    parts = (source.repo, source.revision, source.path)
    repo, revision, path = ((part or "").format(**values) for part in parts)
    return Place(source.type, repo, revision, path)


def placeholders(text: str) -> list[str]:
    """The names in braces of a place.

    Raises:
        ValueError: a brace is not closed.
    """
    found = []
    for _, name, form, conversion in Formatter().parse(text):
        if name is not None:
            found.append(f"{name}:{form}" if form or conversion else name)
    return found


def files_at(place: Place) -> list[str]:
    """The files of a local place; of a model's folder its config and what weights it has."""
    if place.type == "transformerlens":
        return [place.path]
    folder = Path(place.path)
    weights = [folder / name for name in (*WEIGHTS, *INDICES) if (folder / name).is_file()]
    return [str(path) for path in (folder / CONFIG, *(weights or [folder / WEIGHTS[0]]))]
