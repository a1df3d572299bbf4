"""Tables of conditions and cells, stacked."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..files import read_csv


def read_conditions(conditions: Sequence[dict], paths: Sequence[str | Path]) -> pd.DataFrame:
    """One table a condition (or cell), stacked, each row labelled with its condition.

    Args:
        conditions: the labels of each table: architecture and weight_decay, for a cell refit too.
        paths: the table of each.
    """
    tables = []
    for condition, path in zip(conditions, paths, strict=True):
        table = read_csv(path)
        for place, (column, value) in enumerate(condition.items()):
            table.insert(place, column, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
