"""Whether the refits of a condition are different training runs."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd

from ..errors import UserError
from ..storage.files import read_json


def identity_table(refits: Sequence[str], provenance_paths: Sequence[str | Path]) -> pd.DataFrame:
    """Check by their provenance that a condition's refits are different training runs.

    Returns seeds, step, held-out loss and the hashes of first and last weights of each refit.
    Raises UserError, which names the cells, if two refits are copies of one cell, end with the same
    weights, start with the same weights under different init seeds, or with different ones under
    the same.
    """
    records = [read_json(path) for path in provenance_paths]
    rows = []
    kept = ("cell", "init_seed", "data_seed", "step", "held_out_loss")
    for refit, record in zip(refits, records, strict=True):
        hashes = record["weights_sha256"]
        row = {"refit": refit, **{name: record[name] for name in kept}}
        row["initial_sha256"] = hashes.get("step0")
        row["final_sha256"] = hashes[f"step{record['step']}"]
        rows.append(row)
    problems = []
    placed = zip(rows, provenance_paths, strict=True)
    for (one, one_path), (two, two_path) in combinations(placed, 2):
        cells = f"{one['cell']} and {two['cell']}"
        if one["cell"] == two["cell"]:
            problems.append(f"{one_path} and {two_path} are both of the cell {one['cell']}")
            continue
        if one["final_sha256"] == two["final_sha256"]:
            problems.append(f"{cells} have the same final weights")
        starts = {one["initial_sha256"], two["initial_sha256"]}
        if None in starts:
            continue  # the initial weights of imported cells are seldom known
        same_start = len(starts) == 1
        if same_start and one["init_seed"] != two["init_seed"]:
            problems.append(f"{cells} have the same initial weights under different init seeds")
        if not same_start and one["init_seed"] == two["init_seed"]:
            problems.append(f"{cells} have different initial weights under the same init seed")
    if problems:
        raise UserError(
            "refits are not independent training runs:\n  "
            + "\n  ".join(problems)
            + "\nDelete the cells that were copied or mislabelled and run the same command again."
        )
    return pd.DataFrame(rows)
