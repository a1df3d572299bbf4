"""The verdicts on the five claims as a readable page. Tables only."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from .claims import claim_conditions, claims_table

CLAIMS = {
    1: "Middle layers are the least stable and the most distinct",
    2: "Deeper models are less stable at mid depth",
    3: "Unstable heads of deep layers matter more than their peers of the same layer",
    4: "Weight decay raises head stability, at no cost in perplexity",
    5: "The residual stream is more stable than the heads",
}
MEASURES = {
    "raw": "raw stability",
    "excess": "excess over the prompt-shuffled null",
    "cka": "debiased linear CKA of the residual stream against that of what heads write",
}
_RESTS = {
    1: "Rests on the stability of layers and on distinctness within each refit.",
    2: "Rests on layers of middle depth, of architectures that differ in layers alone.",
    3: "Rests on Kendall's tau over the heads of a layer between stability and what ablating the "
    "head costs ({method} ablation, text {text}).",
    4: "Rests on the same seeds with and without weight decay, and on perplexity of the held-out "
    "documents; it may rise by less than {margin:.3g} %.",
    5: "Rests on all pairs of refits, same tokens, same estimator. The paper compares a CKA with a "
    "cosine, which are different scales: that comparison gets no verdict.",
}


def claims_tables(
    dead: pd.DataFrame,
    published: pd.DataFrame,
    architectures: Mapping[str, Mapping[str, Any]],
    refits: Sequence[str],
    method: str,
    claims: Mapping[str, Any],
    crossed: bool,
    name: str,
    prompts: str,
    text: str,
    **tables: pd.DataFrame,
) -> dict[str, pd.DataFrame | str]:
    """The table of the claims and the page a person reads, by name.

    Args:
        dead: what `tables.ablation.dead_heads_table` returned.
        published: docs/published/layers.csv.
        architectures: their shapes, by name.
        refits: names of the refits.
        method: of ablation.
        claims: the section of the config.
        crossed: whether refits cross init and data seeds.
        name: of the study.
        prompts: name of the prompt set stability is measured on.
        text: name of the text heads are ablated on.
        tables: those that `claim_conditions` takes.
    """
    conditions = claim_conditions(tables, architectures, refits, method)
    table = claims_table(conditions, claims, crossed, published)
    study = {"name": name, "prompts": prompts, "text": text, "method": method}
    study |= {"refits": len(refits), "margin": claims["perplexity_margin"]}
    return {"claims": table, "claims_report": claims_report(table, dead, study)}


def claims_report(table: pd.DataFrame, dead: pd.DataFrame, study: Mapping[str, Any]) -> str:
    """The page, Markdown.

    Args:
        table: what `tables.claims.claims_table` returned.
        dead: CONDITION, layer, dead.
        study: name, refits (how many), prompts, text, method, margin (relative perplexity).
    """
    lines = [
        f"# The five claims in study `{study['name']}`",
        "",
        f"{study['refits']} refits a condition; stability on prompt set `{study['prompts']}`. "
        "A part of a claim is a number that is positive if the claim holds. It is **supported** "
        "if its 95 % interval lies above 0 and the estimate reaches the smallest effect of "
        "interest, delta (set in the config, section `claims`, before the run); **not "
        "supported** if the interval lies below delta; otherwise **inconclusive**, as always "
        "with fewer than 4 refits. All parts must hold. Intervals are jackknives over refits and "
        "prompts; `tables/claims.csv` has every number.",
        "",
        "Raw stability is high for heads that have nothing in common; the excess is what is "
        "left above a null whose prompts are shuffled. Where the two verdicts differ, believe "
        "the excess.",
        "",
    ]
    for claim, title in CLAIMS.items():
        rows = table[table["claim"] == claim]
        rests = _RESTS[claim].format(**{**study, "margin": 100 * study["margin"]})
        lines += [f"## {claim}. {title}", "", rests, ""]
        for measure in rows[rows["scope"] == "condition"]["measure"].unique():
            lines += [*_measure(rows[rows["measure"] == measure], measure), ""]
        lines += _described(rows[rows["scope"] == "described"])
    return "\n".join([*lines, *_dead(dead)]).rstrip() + "\n"


def _measure(rows: pd.DataFrame, measure: str) -> Iterator[str]:
    """The verdicts by one measure: pooled first, then for each condition."""
    yield from (f"By {MEASURES[measure]}:", "")
    keys = ["architecture", "weight_decay", "conditions"]
    for scope in ("pooled", "condition"):
        groups = rows[rows["scope"] == scope].groupby(keys, sort=False, dropna=False)
        yield from (_verdict(group) for _, group in groups)


def _verdict(group: pd.DataFrame) -> str:
    """One line: who, verdict, parts, why not."""
    whole = group[group["part"] == "all parts"].iloc[0]
    if whole["scope"] == "pooled":
        who = f"Pooled over {int(whole['conditions'])} conditions or contrasts"
    elif pd.notna(whole["architecture"]) and whole["architecture"]:
        who = f"{whole['architecture']}, wd {whole['weight_decay']}"
    else:
        who = "This study"
    parts = "; ".join(_part(part) for _, part in group[group["part"] != "all parts"].iterrows())
    line = f"- {who}: **{whole['verdict']}**"
    if whole["reason"] and pd.notna(whole["reason"]):
        line += f" ({whole['reason']})"
    if pd.notna(whole["p_holm"]):
        line += f", p {whole['p']:.2g}, over conditions {whole['p_holm']:.2g}"
    return f"{line}. {parts}." if parts else f"{line}."


def _part(part: pd.Series) -> str:
    value = f"{part['part']} = {part['estimate']:.3g}"
    if pd.notna(part["low"]):
        value += f" [{part['low']:.3g}, {part['high']:.3g}]"
    return f"{value}, delta {part['delta']:.3g}: {part['verdict']}"


def _described(rows: pd.DataFrame) -> Iterator[str]:
    """Numbers beside the paper's, without a verdict."""
    if rows.empty:
        return
    yield from (
        "Described, not tested (the paper's value is of 50 refits, GPT-2: 5, and one anchor, at ",
        "another width and on other text):",
        "",
        "| condition | quantity | here | paper | its condition |",
        "|---|---|---|---|---|",
    )
    for _, row in rows.iterrows():
        there = f"{row['published']:.3g}" if pd.notna(row["published"]) else "-"
        name = row["published_condition"] if pd.notna(row["published_condition"]) else "-"
        who = f"{row['architecture']}, wd {row['weight_decay']}"
        yield f"| {who} | {row['part']} | {row['estimate']:.3g} | {there} | {name} |"
    yield ""


def _dead(dead: pd.DataFrame) -> Iterator[str]:
    """Layers whose heads do almost nothing, and what that means for the claims."""
    yield from (
        "## Dead heads",
        "",
        "Heads that do nothing agree with each other perfectly. A layer is called dead if ablating "
        "one of its heads costs, on average, less than a tenth of what it costs at weight decay 0.",
        "",
    )
    flagged = dead[dead["dead"].isin([True])]
    if dead["dead"].isna().any():
        yield "Not known where the study has no weight decay 0 to compare with."
    if flagged.empty:
        yield "No layer is flagged."
    for _, row in flagged.drop_duplicates(["architecture", "weight_decay", "layer"]).iterrows():
        yield (
            f"- {row['architecture']}, wd {row['weight_decay']}, layer {row['layer']}: its "
            "stability is no sign of heads that came back."
        )
