"""Tables of conditions and cells, stacked."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..files import read_csv


def read_conditions(conditions: Sequence[dict], paths: Sequence[str | Path]) -> pd.DataFrame:
    """One table a condition (or cell), stacked, each row labelled with its condition.

    Args:
        conditions: the labels of each table, such as architecture and weight_decay.
        paths: the table of each.
    """
    tables = []
    for condition, path in zip(conditions, paths, strict=True):
        table = read_csv(path)
        for place, (column, value) in enumerate(condition.items()):
            table.insert(place, column, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def read_cells(
    conditions: Sequence[dict], refits: Sequence[str], paths: Sequence[str | Path]
) -> pd.DataFrame:
    """One table a cell, stacked, each row labelled with its condition and refit.

    Args:
        conditions: the labels of each condition.
        refits: names of the refits every condition has.
        paths: the table of each cell, refits of a condition together.
    """
    cells = [{**condition, "refit": refit} for condition in conditions for refit in refits]
    return read_conditions(cells, paths)
