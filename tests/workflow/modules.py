"""Which jobs use each module: what a statement more in it sets off."""

from plan import (
    COMMONNESS,
    CONTRAST,
    CORRELATION,
    CROSS_LAYER,
    EXTREMES,
    HEADS,
    LAYERS,
)

NOTHING = ()
EVERYTHING = (".",)
FIGURES = ("Figure",)
# Tables that are computed; those of pairs are copied from the stability jobs.
LAYER_TABLES = (CROSS_LAYER, COMMONNESS, CONTRAST, EXTREMES)
TABLES = (HEADS, LAYERS, CORRELATION, "Table of the anchor's heads", *LAYER_TABLES)
# Tables over all conditions; figures of single conditions are not below them.
AGGREGATES = (HEADS, LAYERS, CROSS_LAYER, COMMONNESS)

# A statement more in a module: which jobs use it. Whole rules, so patterns of their messages.
MODULES = {
    "headstability/model.py": ("Training",),
    "headstability/training.py": ("Training",),
    "headstability/checkpoints.py": ("Training",),
    "headstability/tokenization.py": ("Making the tokenizer",),
    "headstability/tokens.py": ("Making the prompt set", "Training"),
    "headstability/prompts.py": ("Making the prompt set",),
    "headstability/corpus.py": EVERYTHING,
    "headstability/files.py": EVERYTHING,
    "headstability/__init__.py": EVERYTHING,
    "headstability/activations.py": ("Caching", "Ablating"),
    "headstability/caches.py": ("Caching", "Comparing", "Stability"),
    "headstability/identity.py": ("Checking",),
    "headstability/conditions.py": ("Comparing", "Stability"),
    "headstability/similarity.py": ("Comparing", "Stability"),
    "headstability/tables/measures.py": ("Stability",),
    "headstability/tables/layers.py": LAYER_TABLES,
    "headstability/plots/depth.py": ("Figure: best matches", "Figure: most and least"),
    "headstability/ablation.py": ("Ablating",),
    "headstability/tables/__init__.py": ("Stability", *TABLES),
    "headstability/tables/reading.py": AGGREGATES,
    "headstability/tables/stability.py": (LAYERS, "Table of the anchor's heads"),
    "headstability/tables/ablation.py": (HEADS, CORRELATION),
    "headstability/statistics.py": (HEADS, CORRELATION),
    "headstability/labels.py": (*TABLES, *FIGURES),
    "headstability/plots/style.py": FIGURES,
    "headstability/plots/layers.py": (
        "Figure: layer stability",
        "Figure: commonness",
        "Figure: the contrast",
    ),
    "headstability/plots/heads.py": ("Figure: head map", "Figure: pairs"),
    "headstability/plots/ablation.py": ("Figure: stability and ablation",),
    "headstability/errors.py": NOTHING,
    "headstability/progress.py": NOTHING,
    "headstability/liveness.py": NOTHING,
    "headstability/codehash.py": NOTHING,
    "headstability/study.py": NOTHING,
    "headstability/jobs.py": NOTHING,
    "headstability/verify.py": NOTHING,
    "headstability/versions.py": NOTHING,
    "headstability/why.py": NOTHING,
    "headstability/schema.py": NOTHING,
    "headstability/config_check.py": NOTHING,
    "headstability/config_rules.py": NOTHING,
    "headstability/config_words.py": NOTHING,
    "headstability/catalogue.py": NOTHING,
    "headstability/kinds.py": NOTHING,
    "headstability/specs.py": NOTHING,
    "headstability/paths.py": NOTHING,
    "job.py": NOTHING,
    "unlock.py": NOTHING,
    "verify.py": NOTHING,
    "why.py": NOTHING,
    "train.py": ("Training",),
    "cache.py": ("Caching",),
    "ablation.py": ("Ablating",),
    "stability.py": ("Stability",),
    "similarity.py": ("Comparing",),
    "cross_layer_table.py": (CROSS_LAYER,),
    "extremes_table.py": (EXTREMES,),
    "weight_decay_contrast.py": ("Figure: the contrast",),
    "heads_table.py": (HEADS,),
    "stability_ablation_table.py": (CORRELATION,),
    "draw_pairwise.py": ("Figure: pairs",),
}
