"""The verdicts on the claims: as a matrix, and as a readable page. Tables only."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ..conventions import CONDITION
from .claim_conditions import claim_conditions
from .claims import BEYOND, CONDITION_SCOPE, POOLED, WHOLE, claims_table
from .described_claims import DESCRIBED

CLAIMS = {
    0: "Heads come back, one by one (this project's own)",
    1: "Middle layers are the least stable",
    2: "Deeper models are less stable at mid depth",
    3: "Unstable heads of deep layers matter more than their peers of the same layer",
    4: "Weight decay raises agreement, at no cost in perplexity",
    5: "The residual stream is more stable than the heads",
}
MEASURES = {
    "raw": "raw stability $S$ (the paper's)",
    "text": "stability by text similarity",
    "rho": "recurrence $\\rho$",
    "cka": "debiased linear CKA, each less its prompt-shuffled null",
}
_RESTS = {
    0: "Rests on text similarity and one-to-one matches: 0 is what unrelated heads give, 1 that "
    "every head has a counterpart in every refit.",
    1: "Rests on the stability of layers of at least 4-layer models. Distinctness within each "
    "refit is described below: it is nearly the same fact.",
    2: "Rests on layers of middle depth, of architectures that differ in layers alone and have at "
    "least 4 layers.",
    3: "Rests on Kendall's tau over the heads of a layer between stability and what ablating the "
    "head costs ({method} ablation, text {text}), and on the same given how common a head is in "
    "its layer.",
    4: "Rests on the same seeds with and without weight decay, and on perplexity of the held-out "
    "documents; it may rise by less than {margin:.3g} %. The paper claims it for deep models with "
    "MLP (here: at least 8 layers); other conditions are marked with *.",
    5: "Rests on all pairs of refits, same tokens, same estimator. The paper compares a CKA with a "
    "cosine, which are different scales: that comparison gets no verdict.",
}
_SCOPES = {
    POOLED: "These {conditions} conditions {block}, pooled",
    BEYOND: "Conditions beyond these {conditions} {block}",
}


def claims_tables(
    dead: pd.DataFrame,
    published: pd.DataFrame,
    twins: pd.DataFrame | None,
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
        twins: as for `claim_conditions`.
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
    conditions = claim_conditions(tables, twins, architectures, refits, method)
    table = claims_table(conditions, claims, crossed, published)
    study = {"name": name, "prompts": prompts, "text": text, "method": method}
    study |= {"refits": len(refits), "margin": claims["perplexity_margin"]}
    study["conditions"] = [
        {"architecture": one.architecture, "weight_decay": one.weight_decay} for one in conditions
    ]
    return {"claims": table, "claims_report": claims_report(table, dead, study)}


def verdicts_table(claims: pd.DataFrame, conditions: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """The verdict on every claim by every measure, for every condition.

    Args:
        claims: what `tables.claims.claims_table` returned.
        conditions: architecture and weight decay of every condition, in order.

    Returns:
        claim, measure, CONDITION, verdict (empty where the claim is not about the condition, or
        cannot be tested on it), reason (why it is inconclusive or empty). A contrast of several
        architectures stands in the row of each.
    """
    whole = claims[(claims["scope"] == CONDITION_SCOPE) & (claims["part"] == WHOLE)]
    rows = []
    for (claim, measure), group in whole.groupby(["claim", "measure"], sort=False):
        for condition in conditions:
            verdict, reason = "", "the claim is not about this condition"
            for one in group.itertuples():
                named = str(one.architecture).split(", ") if pd.notna(one.architecture) else []
                decay = condition["weight_decay"] == str(one.weight_decay)
                if (condition["architecture"] in named and decay) or not any(named):
                    reason = "" if pd.isna(one.reason) else one.reason
                    verdict = one.verdict if pd.notna(one.p) else ""
            rows.append({"claim": claim, "measure": measure, **condition})
            rows[-1] |= {"verdict": verdict, "reason": reason}
    return pd.DataFrame(rows)[["claim", "measure", *CONDITION, "verdict", "reason"]]


def claims_report(table: pd.DataFrame, dead: pd.DataFrame, study: Mapping[str, Any]) -> str:
    """The page, Markdown.

    Args:
        table: what `tables.claims.claims_table` returned.
        dead: CONDITION, layer, dead.
        study: name, refits (how many), prompts, text, method, margin (relative perplexity),
            conditions (architecture and weight decay of each).
    """
    lines = [
        f"# The claims in study `{study['name']}`",
        "",
        *_matrix(verdicts_table(table, study["conditions"])),
        "",
        f"{study['refits']} refits of each condition; similarity on prompt set "
        f"`{study['prompts']}`. A claim has one or more parts, numbers that are positive if it "
        "holds. The smallest effect of interest, delta, is set in the config (section `claims`) "
        "before the run. From 95 % intervals over refits and prompts: **larger than delta**, "
        "**positive, size open** (above 0), **smaller than delta** (surely less than delta), "
        "**reversed** (below 0), or **inconclusive**, as always with fewer than 4 refits. All "
        "parts must hold for a positive verdict. Holm's correction over conditions decides the "
        "word. `tables/claims.csv` has every number.",
        "",
        "Raw stability is the paper's measure. It is high wherever the heads of a layer are "
        "alike, in one model or in two, so it cannot say whether heads come back: claim 0 can.",
        "",
    ]
    for claim, title in CLAIMS.items():
        rows = table[table["claim"] == claim]
        rests = _RESTS[claim].format(**{**study, "margin": 100 * study["margin"]})
        lines += [f"## {claim}. {title}", "", rests, ""]
        for measure in rows[rows["scope"] == CONDITION_SCOPE]["measure"].unique():
            lines += [*_measure(rows[rows["measure"] == measure], measure), ""]
        lines += _described(rows[rows["scope"] == DESCRIBED])
    return "\n".join([*lines, *_dead(dead)]).rstrip() + "\n"


def _matrix(verdicts: pd.DataFrame) -> Iterator[str]:
    """Claims by conditions, a word in each field."""
    columns = verdicts[CONDITION].drop_duplicates().itertuples(index=False, name=None)
    names = [f"{architecture}, wd {decay}" for architecture, decay in columns]
    yield f"| claim | by | {' | '.join(names)} |"
    yield "|---|---|" + "---|" * len(names)
    for (claim, measure), rows in verdicts.groupby(["claim", "measure"], sort=False):
        words = " | ".join(word or "-" for word in rows["verdict"])
        yield f"| {claim}. {CLAIMS[claim]} | {_short(measure)} | {words} |"


def _short(measure: str) -> str:
    return {"raw": "raw $S$", "text": "text", "rho": "$\\rho$", "cka": "CKA"}[measure]


def _measure(rows: pd.DataFrame, measure: str) -> Iterator[str]:
    """The verdicts by one measure: pooled first, then for each condition."""
    yield from (f"By {MEASURES[measure]}:", "")
    keys = ["architecture", "weight_decay", "conditions"]
    for scope in (POOLED, BEYOND, CONDITION_SCOPE):
        groups = rows[rows["scope"] == scope].groupby(keys, sort=False, dropna=False)
        yield from (_verdict(group) for _, group in groups)


def _verdict(group: pd.DataFrame) -> str:
    """One line: who, verdict, parts, why not."""
    whole = group[group["part"] == WHOLE].iloc[0]
    if whole["scope"] in _SCOPES:
        block = {"block": whole["architecture"], "conditions": int(whole["conditions"])}
        who = _SCOPES[whole["scope"]].format(**block)
    elif pd.notna(whole["architecture"]) and whole["architecture"]:
        who = f"{whole['architecture']}, wd {whole['weight_decay']}"
        who += "" if whole["papers"] in (True, None) or pd.isna(whole["papers"]) else " *"
    else:
        who = "This study"
    parts = "; ".join(_part(part) for _, part in group[group["part"] != WHOLE].iterrows())
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
    text = f"{value}, delta {part['delta']:.3g}: {part['verdict']}"
    if pd.notna(part["positive"]):
        text += f" ({int(part['positive'])} of {int(part['conditions'])} above 0)"
    return text


def _described(rows: pd.DataFrame) -> Iterator[str]:
    """Numbers without a verdict, beside the paper's where it has them."""
    if rows.empty:
        return
    yield from (
        "Described, not tested (the paper's value is of 50 refits, GPT-2: 5, and one anchor, at "
        "another width and on other text):",
        "",
        "| condition | quantity | here | 95 % interval | paper | its condition |",
        "|---|---|---|---|---|---|",
    )
    for _, row in rows.iterrows():
        there = f"{row['published']:.3g}" if pd.notna(row["published"]) else "-"
        name = row["published_condition"] if pd.notna(row["published_condition"]) else "-"
        known = pd.notna(row["low"])
        interval = f"{row['low']:.3g} to {row['high']:.3g}" if known else "-"
        who = f"{row['architecture']}, wd {row['weight_decay']}"
        here = f"{row['estimate']:.3g}"
        yield f"| {who} | {row['part']} | {here} | {interval} | {there} | {name} |"
    yield ""


def _dead(dead: pd.DataFrame) -> Iterator[str]:
    """Layers whose heads do almost nothing, and what that means for the claims."""
    yield from (
        "## Dead heads",
        "",
        "Heads that do nothing are alike in all refits. A layer is called dead if ablating "
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
            "agreement is no sign of heads that came back."
        )
