"""Tidy table of perplexities."""

import pandas as pd

from ..labels import ALL, CONDITION


def perplexity_table(texts: pd.DataFrame) -> pd.DataFrame:
    """Perplexity of every refit on every text, and what weight decay changes about it.

    Args:
        texts: CONDITION, refit, text, tokens, nll, perplexity.

    Returns:
        The same columns and relative_difference: (PPL - PPL_0) / PPL_0 with PPL_0 of the same
        refit at weight decay 0; empty at weight decay 0 and where the study has none. Refit
        "all" holds means over refits of perplexity and relative_difference.
    """
    keys = ["architecture", "refit", "text"]
    plain = texts.loc[texts["weight_decay"] == "0", [*keys, "perplexity"]]
    plain = plain.rename(columns={"perplexity": "reference"})
    table = texts.merge(plain, on=keys, how="left", validate="many_to_one")
    change = (table["perplexity"] - table["reference"]) / table["reference"]
    table["relative_difference"] = change.where(table["weight_decay"] != "0")
    measures = ["perplexity", "relative_difference"]
    groups = table.groupby([*CONDITION, "text"], sort=False, as_index=False)
    overall = groups[measures].mean().assign(refit=ALL)
    columns = [*CONDITION, "refit", "text", "tokens", "nll", *measures]
    stacked = pd.concat([overall.reindex(columns=columns), table[columns]], ignore_index=True)
    return stacked.astype({"tokens": "Int64"})
