"""Where figures and tables stand in the report of a study (`snakemake --report`)."""

from typing import Any

from .catalogue import FIGURES

# Titles of figures and tables by section. Sections are sorted by name: claims come first.
SECTIONS = {
    "1 Claims": {
        "claims": "The five claims",
        "claims_report": "The five claims in words",
        "published": "Beside published values",
    },
    "2 Heads": {
        "layer_stability": "Layer stability",
        "adjusted": "Adjusted stability",
        "dead_heads": "Dead heads",
        "heads": "All heads of all refits",
        "head_map": "Head map of one anchor",
        "pairwise": "Pairs of refits",
        "head_atlas": "Head atlas",
        "cross_layer": "Best matches in any layer",
        "commonness": "Commonness",
        "weight_decay_contrast": "Contrast of weight decays",
        "extremes": "Most and least stable layers",
        "prompt_length": "Prompt length",
        "meta_sne": "Map of all heads",
        "roles": "Roles",
        "roles_stability": "Roles: stability",
    },
    "3 Ablation and perplexity": {
        "stability_ablation": "Stability and ablation effects",
        "stability_ablation_trend": "Stability and ablation effects: trend over depth",
        "perplexity": "Perplexity",
    },
    "4 Residual stream and weights": {
        "residual": "Residual streams",
        "attention_norms": "Norms of activations",
        "weight_norms": "Stability and weight norms",
    },
    "5 Questions": {
        "dose": "Dose response",
        "time_course": "Time course",
        "refits_needed": "How many refits are needed",
        "origin": "Where instability comes from",
    },
}
# Within a section, what there is once a condition has a group of its own, after this one.
ALL_CONDITIONS = "All conditions"


def place(name: str, kind: str = "") -> dict[str, Any]:
    """Section, group and label, as Snakemake's `report` takes them.

    Args:
        name: of a figure or table.
        kind: what is added to its title, such as " (table)".

    Returns:
        category; subcategory (None in sections without groups); labels, a single one: of two,
        the report would turn the second into a switch wherever it has two values. It holds the
        wildcards of what there is once a condition.
    """
    section = next(section for section, titles in SECTIONS.items() if name in titles)
    title, group = SECTIONS[section][name], None
    label = title
    if condition := _wildcards(name):
        label = f"{title}: " + condition.replace("/", ", ").replace("wd{", "wd {")
        group = title
    elif any(map(_wildcards, SECTIONS[section])):
        group = ALL_CONDITIONS
    return {"category": section, "subcategory": group, "labels": {"result": label + kind}}


def _wildcards(name: str) -> str:
    """What follows the name in the path of a figure or table: nothing, if there is one a study."""
    return FIGURES.get(name, name).removeprefix(name).removeprefix("/")
