"""Which head of each refit is the least reproducible, and what does it attend to?

The figures of a study show the least stable heads of one anchor. Here every refit is asked for its
own: is it the same kind of head each time, and how close does the closest head of any other refit
come? Writes a PNG and, beside it, a CSV with every number drawn.

    python docs/examples/least_stable_head.py results/default deep/wd0 least_stable_head.png
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from headstability.notebook.access import Condition, open_study
from headstability.errors import UserError

PROMPT, TOKENS = 1, 16  # the prompt shown, and how many of its tokens


def least_stable(condition: Condition) -> pd.DataFrame:
    """Per refit: its least stable head of all layers, and the closest match in another refit."""
    stability = condition.stability()
    heads = stability.loc[stability.groupby("anchor", sort=False)["stability"].idxmin()]
    matches = heads.merge(condition.matches(), on=["anchor", "layer", "head"])
    return matches.loc[matches.groupby("anchor", sort=False)["similarity"].idxmax()]


def pattern_table(condition: Condition, chosen: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """One row per entry of each pattern shown: each refit's head, and its closest match."""
    patterns = condition.patterns().sel(prompt=PROMPT).isel(query=slice(TOKENS), key=slice(TOKENS))
    parts = []
    for row in chosen.itertuples():
        for shown, refit, head in (
            ("least stable head", row.anchor, row.head),
            ("closest match", row.refit, row.match),
        ):
            # Values are read only here: one head of one refit on one prompt.
            square = patterns.sel(refit=refit, layer=row.layer, head=head)
            part = square.to_series().rename("attention").reset_index().dropna()
            part = part[part["key"] <= part["query"]].assign(
                query_token=part["query"].map(lambda number: labels[number - 1]),
                key_token=part["key"].map(lambda number: labels[number - 1]),
            )
            found = {
                "refit": row.anchor,
                "layer": row.layer,
                "head": row.head,
                "stability": row.stability,
                "match_refit": row.refit,
                "match": row.match,
                "cosine": row.similarity,
                "shown": shown,
            }
            for place, (name, value) in enumerate(found.items()):
                part.insert(place, name, value)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame, title: str) -> Figure:
    """One column per refit: its least stable head above, its closest match elsewhere below."""
    refits = list(table["refit"].unique())
    figure = Figure(figsize=(2.3 * len(refits) + 1.2, 5.6), layout="constrained")
    axes = figure.subplots(2, len(refits), squeeze=False)
    for column, refit in enumerate(refits):
        for row, shown in enumerate(("least stable head", "closest match")):
            part = table[(table["refit"] == refit) & (table["shown"] == shown)]
            first, panel = part.iloc[0], axes[row][column]
            square = part.pivot(index="query", columns="key", values="attention")
            image = panel.imshow(square, cmap="viridis", vmin=0, vmax=1)
            whose, head = (refit, first["head"]) if row == 0 else first[["match_refit", "match"]]
            panel.set_title(f"{whose}, layer {first['layer']}, head {head}", fontsize=8)
            note = f"S = {first['stability']:.2f}" if row == 0 else f"cos {first['cosine']:.2f}"
            panel.text(0.96, 0.94, note, transform=panel.transAxes, ha="right", va="top")
            tokens = part[part["key"] == 1].sort_values("query")["query_token"]
            panel.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=6, parse_math=False)
            panel.set_yticks(range(len(tokens)), tokens, fontsize=6, parse_math=False)
            panel.set_xlabel("key token")
        axes[0][column].set_ylabel("query token\n(least stable head)" if column == 0 else "")
        axes[1][column].set_ylabel("query token\n(closest match)" if column == 0 else "")
    figure.colorbar(image, ax=axes, label="attention", shrink=0.5)
    figure.suptitle(title, fontsize=10)
    return figure


def main() -> None:
    """Draw a condition of a study; by default, the study's first."""
    folder, *rest = sys.argv[1:] or ["results/default"]
    try:
        study = open_study(folder)
        condition = study.conditions[rest[0] if rest else next(iter(study.conditions))]
        png = Path(rest[1] if len(rest) > 1 else "least_stable_head.png")
        chosen = least_stable(condition)
        table = pattern_table(condition, chosen, study.tokens(PROMPT))
    except UserError as error:
        sys.exit(f"Error: {error}")
    table.to_csv(png.with_suffix(".csv"), index=False)
    title = f"{study.name}, {condition.name}: the least stable head of each refit"
    draw(table, title).savefig(png, dpi=150, metadata={"Software": None})
    print(f"{png} and {png.with_suffix('.csv')}")


main()
