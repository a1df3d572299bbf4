"""The figures a study can draw and the tables beside them, by the names people ask for."""

# Names that hold wildcards exist once for each of their values.
PER_CONDITION = "{architecture}/wd{weight_decay}"
FIGURES = {
    "layer_stability": "layer_stability",
    "stability_ablation": "stability_ablation",
    "head_map": f"head_map/{PER_CONDITION}",
    "pairwise": f"pairwise/{PER_CONDITION}",
    "cross_layer": "cross_layer",
    "commonness": "commonness",
    "weight_decay_contrast": "weight_decay_contrast",
    "extremes": "extremes",
    "residual": "residual",
    "attention_norms": "attention_norms",
    "weight_norms": "weight_norms",
    "meta_sne": "meta_sne/wd{weight_decay}",
    "perplexity": "perplexity",
    "prompt_length": "prompt_length",
    "head_atlas": f"head_atlas/{PER_CONDITION}",
    "origin": "origin",
    "dose": "dose",
    "time_course": "time_course",
    "refits_needed": "refits_needed",
    "roles": "roles",
    "adjusted": "adjusted",
    "claims": "claims",
}
# Where a figure stands in Snakemake's report.
CATEGORIES = {
    "layer_stability": "Head and layer stability",
    "head_map": "Head and layer stability",
    "pairwise": "Head and layer stability",
    "stability_ablation": "Ablation",
    "cross_layer": "Head and layer stability",
    "commonness": "Head and layer stability",
    "weight_decay_contrast": "Weight decay",
    "extremes": "Head and layer stability",
    "residual": "Residual stream",
    "attention_norms": "Residual stream",
    "weight_norms": "Weights",
    "meta_sne": "All heads at once",
    "perplexity": "Training",
    "prompt_length": "Head and layer stability",
    "head_atlas": "Head and layer stability",
    "origin": "Questions to a study",
    "dose": "Weight decay",
    "time_course": "Training",
    "refits_needed": "Questions to a study",
    "roles": "Questions to a study",
    "adjusted": "Head and layer stability",
    "claims": "Claims",
}
# Tables that a figure's table comes with.
ALSO = {
    "stability_ablation": ["stability_ablation_trend"],
    "layer_stability": ["dead_heads"],
    "roles": ["roles_stability"],
}
# One table beside every figure, those that come with it, and one of all heads; on request a
# comparison with the paper.
TABLES = [
    *FIGURES.values(),
    *(name for names in ALSO.values() for name in names),
    "heads",
    "published",
]
