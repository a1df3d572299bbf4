"""Rows of all refits together, and how many refits a condition has."""

from collections.abc import Sequence

import pandas as pd

from ..conventions import ALL, CONDITION


def with_means(
    rows: pd.DataFrame, keys: Sequence[str], measures: Sequence[str], of: str = "refit"
) -> pd.DataFrame:
    """The means of `measures` over refits by CONDITION and `keys`, and then the rows themselves.

    The column `of` names the refit or anchor; means have "all" there. Further columns are empty.
    """
    groups = rows.groupby([*CONDITION, *keys], sort=False, as_index=False)
    means = groups[list(measures)].mean().assign(**{of: ALL})
    return pd.concat([means, rows], ignore_index=True)[rows.columns]


def with_refits(table: pd.DataFrame, rows: pd.DataFrame, of: str = "refit") -> pd.DataFrame:
    """A table with the number of refits that `rows` hold of each condition, in column refits."""
    counts = rows.groupby(CONDITION, sort=False)[of].nunique().rename("refits").reset_index()
    return table.merge(counts, on=CONDITION, validate="many_to_one")
