"""Problems of a config that asks for more than can be planned, or for names a disk cannot tell."""

from collections.abc import Iterator
from typing import Any

from .config_words import join, short

# More cannot be planned in reasonable time: Snakemake looks at every job.
MOST_CELLS, MOST_CHECKPOINTS = 20_000, 200_000
# It stands in names of folders, written out.
LEAST_WEIGHT_DECAY = 1e-12


def check_sizes(raw: dict) -> Iterator[tuple[str, str]]:
    """Problems of sizes and names. Runs on unvalidated input."""
    for index, value in enumerate(_list(raw.get("weight_decays"))):
        if isinstance(value, float) and 0 < value < LEAST_WEIGHT_DECAY:
            yield (
                join(["weight_decays", index]),
                f"{value!r} is not allowed: give 0, or at least {LEAST_WEIGHT_DECAY:g}",
            )
    perplexity = raw.get("perplexity")
    texts = perplexity.get("texts") if isinstance(perplexity, dict) else None
    for path, section in (
        (["architectures"], raw.get("architectures")),
        (["prompts"], raw.get("prompts")),
        (["perplexity", "texts"], texts),
    ):
        yield from _check_names(path, section)
    yield from _check_cells(raw)


def _check_names(path: list, section: Any) -> Iterator[tuple[str, str]]:
    """Names that are one on a disk that does not tell capital letters from small ones."""
    seen: dict[str, str] = {}
    for name in section if isinstance(section, dict) else ():
        if not isinstance(name, str):
            continue
        other = seen.setdefault(name.lower(), name)
        if other != name:
            yield (
                join([*path, name]),
                f"{name!r} and {other!r} differ in capitals alone, and name the same folder or "
                "file on some disks; rename one",
            )


def _check_cells(raw: dict) -> Iterator[tuple[str, str]]:
    counts = {
        "refits": _refits(raw.get("refits", 4)),
        "weight_decays": len(_list(raw.get("weight_decays", [0, 0.1]))),
        "architectures": len(raw["architectures"]) if _is_dict(raw, "architectures") else 0,
    }
    cells = counts["refits"] * counts["weight_decays"] * counts["architectures"]
    largest = max(counts, key=lambda key: counts[key])
    if cells > MOST_CELLS:
        yield (
            largest,
            f"{short(raw.get(largest, 4))} makes {cells} cells of this study; at most {MOST_CELLS} "
            "can be planned: ask for less, or split the study",
        )
        return
    training = raw.get("training")
    steps = _list(training.get("checkpoint_steps")) if isinstance(training, dict) else []
    if cells * (len(steps) + 1) > MOST_CHECKPOINTS:
        yield (
            "training.checkpoint_steps",
            f"{short(steps)} makes {cells * (len(steps) + 1)} checkpoints of {cells} cells; at "
            f"most {MOST_CHECKPOINTS} can be planned: list fewer steps",
        )


def _refits(value: Any) -> int:
    if isinstance(value, dict):
        return len(_list(value.get("init_seeds"))) * len(_list(value.get("data_seeds")))
    if isinstance(value, list):
        return len(value)
    return max(value, 0) if isinstance(value, int) and not isinstance(value, bool) else 0


def _is_dict(raw: dict, key: str) -> bool:
    return isinstance(raw.get(key), dict)


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []
