"""Weights, text and tokenizers from elsewhere: where they are, and what the config says of that."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from ..hub.folders import CONFIG, INDICES, WEIGHTS
from .config_file import join, short
from .paths import format_weight_decay
from .schema import StudyConfig
from .schema_data import BpeTokenizer, DataCorpus, HuggingFaceSource, TransformerLensSource

Source = TransformerLensSource | HuggingFaceSource
# Names in braces that a place may hold.
PLACEHOLDERS = ("seed", "init_seed", "data_seed", "step", "decay", "name")


@dataclass(frozen=True)
class Place:
    """Where one cell's weights at one step are."""

    type: str  # transformerlens or huggingface
    repo: str  # of the hub; empty: `path` is local
    revision: str  # commit, tag or branch
    path: str  # the file (TransformerLens) or folder (Hugging Face), in the repository or local


def place_of(source: Source, init_seed: int, data_seed: int, weight_decay: str, step: int) -> Place:
    """The place of one cell and step, by the checked `source` of its architecture."""
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


def files_at(place: Place) -> list[str]:
    """The files of a local place; of a model's folder its config and what weights it has."""
    if place.type == "transformerlens":
        return [place.path]
    folder = Path(place.path)
    weights = [folder / name for name in (*WEIGHTS, *INDICES) if (folder / name).is_file()]
    return [str(path) for path in (folder / CONFIG, *(weights or [folder / WEIGHTS[0]]))]


# --- what is wrong with them --------------------------------------------------------------


def check_text(config: StudyConfig) -> Iterator[tuple[str, str]]:
    """Whether text and tokenizer are given in full, and lie in their repositories on the hub."""
    corpus, tokenizer = config.corpus, config.tokenizer
    if isinstance(corpus, DataCorpus):
        if (corpus.repo is None) != (corpus.revision is None):
            text = "goes with corpus.repo: give both, or none for local files"
            yield "corpus.revision", f"{short(corpus.revision)} {text}"
        if corpus.tokenised and isinstance(tokenizer, BpeTokenizer):
            text = "a corpus of token ids comes with its tokenizer: give that as type file or hub"
            yield "tokenizer.type", text
    for section, chosen in (("corpus", corpus), ("tokenizer", tokenizer)):
        if getattr(chosen, "repo", None) is not None:
            parts = {part: getattr(chosen, part, None) for part in ("repo", "revision", "path")}
            yield from _outside(section, parts)


def check_sources(config: StudyConfig) -> Iterator[tuple[str, str]]:
    """Whether the weights of every cell and step have one place each."""
    for name, architecture in config.architectures.items():
        if architecture.source is not None:
            key = f"architectures.{name}.source"
            yield from _check_places(key, architecture.source)
            yield from _check_differences(key, architecture.source, config)


def _outside(key: str, places: dict[str, str | None]) -> Iterator[tuple[str, str]]:
    """Places that lead out of their repository, or that no file could have."""
    for part, text in places.items():
        if text and (".." in text.split("/") or text.startswith("/") or not text.isprintable()):
            wrong = "a place in a repository may not hold .. or line breaks, or begin with /"
            yield f"{key}.{part}", f"{short(text)}: {wrong}; correct it"


def _parts(source: Source) -> dict[str, str]:
    """What of a place the config gives."""
    parts = {"repo": source.repo, "revision": source.revision, "path": source.path}
    return {part: text for part, text in parts.items() if text is not None}


def _placeholders(text: str) -> list[str]:
    """The names in braces of a place; a ValueError says that a brace is not closed."""
    fields = [item[1:] for item in Formatter().parse(text) if item[1] is not None]
    return [f"{name}:{form}" if form or conversion else name for name, form, conversion in fields]


def _check_places(key: str, source: Source) -> Iterator[tuple[str, str]]:
    """Whether the parts of a place are given and can be filled in."""
    if source.repo is not None and source.revision is None:
        yield f"{key}.revision", "missing; name the commit (40 hexadecimal digits), tag or branch"
    if source.revision is not None and source.repo is None:
        text = "local files have no revision; remove it, or add repo"
        yield f"{key}.revision", f"{short(source.revision)}: {text}"
    if source.repo is None and source.path is None:
        yield f"{key}.path", "missing; give a local folder, or repo and revision"
    for part, text in _parts(source).items():
        try:
            unknown = [name for name in _placeholders(text) if name not in PLACEHOLDERS]
        except ValueError as error:
            wrong = f"{short(text)} is no pattern ({error})"
            yield f"{key}.{part}", f"{wrong}; write {{seed}} and the like"
            continue
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            wrong = f"{short(text)}: {{{unknown[0]}}} stands for nothing"
            yield f"{key}.{part}", f"{wrong}; there are {known}"
    if source.repo is not None:
        decays = {join(["decays", name]): text for name, text in source.decays.items()}
        names = {join(["names", name]): text for name, text in source.names.items()}
        yield from _outside(key, _parts(source) | decays | names)


def _check_differences(key: str, source: Source, config: StudyConfig) -> Iterator[tuple[str, str]]:
    """Whether different cells and steps have different places, which always hold the same."""
    used: set[str] = set()
    for text in _parts(source).values():
        with contextlib.suppress(ValueError):  # which is reported as a place
            used.update(_placeholders(text))
    telling = {"init_seed", "data_seed"} if config.crossed else {"seed", "init_seed", "name"}
    wanted = "{init_seed} and {data_seed}" if config.crossed else "{seed}"
    if config.crossed and "seed" in used:
        given = short(source.path or source.repo)
        yield f"{key}.path", f"refits cross two seeds: write {wanted} in {given}"
    elif not used & telling:
        yield f"{key}.path", f"the same for every refit; write {wanted} where they differ"
    training = config.training
    if "step" not in used and set(training.checkpoint_steps) - {training.last_step}:
        yield f"{key}.path", "the same for every step of training.checkpoint_steps; write {step}"
    decays = [format_weight_decay(value) for value in config.weight_decays]
    absent = [decay for decay in decays if decay not in source.decays]
    if "decay" in used and absent:
        text = f"lacks what {{decay}} stands for at weight decay {absent[0]}; add it"
        yield f"{key}.decays", text
    if "decay" not in used and len(decays) > 1:
        yield f"{key}.path", "the same for every weight decay; write {decay} and list decays"
    if "name" in used and not config.crossed:
        seeds = config.refits if isinstance(config.refits, list) else range(1, config.refits + 1)
        if without := [seed for seed in seeds if str(seed) not in source.names]:
            yield f"{key}.names", f"lacks what {{name}} stands for with seed {without[0]}; add it"
    if source.revision in ("main", "master") and not source.sha256:
        text = f"{source.revision!r} changes with time; name a commit, or pin files with sha256"
        yield f"{key}.revision", text
