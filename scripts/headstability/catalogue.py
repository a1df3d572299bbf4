"""The figures a study can draw and the tables beside them, by the names people ask for."""

# Names that hold wildcards exist once for each of their values.
PER_CONDITION = "{architecture}/wd{weight_decay}"
FIGURES = {
    "layer_stability": "layer_stability",
    "stability_ablation": "stability_ablation",
    "head_map": f"head_map/{PER_CONDITION}",
    "pairwise": f"pairwise/{PER_CONDITION}",
}
# Where a figure stands in Snakemake's report.
CATEGORIES = {
    "layer_stability": "Head and layer stability",
    "head_map": "Head and layer stability",
    "pairwise": "Head and layer stability",
    "stability_ablation": "Ablation",
}
# One table beside every figure, and one of all heads; on request a comparison with the paper.
TABLES = [*FIGURES.values(), "heads", "published"]
