"""Which jobs use each module: what a statement more in it sets off."""

from plan import CORRELATION, HEADS, LAYERS

NOTHING = ()
EVERYTHING = (".",)
FIGURES = ("Figure",)
# Tables that are computed; those of pairs are copied from the stability jobs.
TABLES = (HEADS, LAYERS, CORRELATION, "Table of the anchor's heads")
# Tables over all conditions; figures of single conditions are not below them.
AGGREGATES = (HEADS, LAYERS)

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
    "headstability/caches.py": ("Caching",),
    "headstability/identity.py": ("Checking",),
    "headstability/conditions.py": ("Stability",),
    "headstability/similarity.py": ("Stability",),
    "headstability/ablation.py": ("Ablating",),
    "headstability/tables/__init__.py": TABLES,
    "headstability/tables/reading.py": AGGREGATES,
    "headstability/tables/stability.py": (LAYERS, "Table of the anchor's heads"),
    "headstability/tables/ablation.py": (HEADS, CORRELATION),
    "headstability/statistics.py": (HEADS, CORRELATION),
    "headstability/labels.py": (*TABLES, *FIGURES),
    "headstability/plots/style.py": FIGURES,
    "headstability/plots/layers.py": ("Figure: layer stability",),
    "headstability/plots/heads.py": ("Figure: head map", "Figure: pairs"),
    "headstability/plots/ablation.py": ("Figure: stability and ablation",),
    "headstability/traced.py": ("Caching", "Ablating"),
    "headstability/loading.py": ("Caching", "Ablating"),
    "headstability/sources/tensors.py": ("Caching", "Ablating"),
    "headstability/sources/huggingface.py": ("Caching", "Ablating"),
    "headstability/sources/adapters.py": ("Caching", "Ablating"),
    "headstability/sources/folders.py": ("Caching", "Ablating"),
    "headstability/sources/transformerlens.py": NOTHING,
    "headstability/sources/download.py": NOTHING,
    "headstability/sources/importing.py": NOTHING,
    "headstability/source_places.py": NOTHING,
    "headstability/exports/writing.py": NOTHING,
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
    "heads_table.py": (HEADS,),
    "stability_ablation_table.py": (CORRELATION,),
    "draw_pairwise.py": ("Figure: pairs",),
}
