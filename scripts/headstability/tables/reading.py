"""Tables of conditions and cells, stacked."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..storage.files import read_csv


def read_labelled(
    paths: Sequence[str | Path], pattern: str, labels: Sequence[str]
) -> pd.DataFrame | None:
    """Tables of conditions or cells, stacked, with the labels as first columns; None if none exist.

    The labels, such as architecture and weight_decay, are wildcards in the pattern of the paths. A
    step becomes a number.
    """
    places = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(pattern)))
    tables = []
    for path in paths:
        table, found = read_csv(path), places.fullmatch(str(path))
        for place, label in enumerate(labels):
            table.insert(place, label, int(found[label]) if label == "step" else found[label])
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else None


def read_refits(refits: Sequence[str], paths: Sequence[str | Path]) -> pd.DataFrame:
    """The tables of the refits of a condition, stacked, with a first column refit."""
    tables = dict(zip(refits, map(read_csv, paths), strict=True))
    return pd.concat(tables, names=["refit"]).reset_index("refit").reset_index(drop=True)
