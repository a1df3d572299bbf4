"""Which jobs use each module: what a statement more in it sets off."""

from plan import (
    COMMONNESS,
    CONTRAST,
    CORRELATION,
    CROSS_LAYER,
    EXTREMES,
    HEADS,
    LAYERS,
    LENGTHS,
    PERPLEXITY,
)

NOTHING = ()
EVERYTHING = (".",)
FIGURES = ("Figure",)
STREAM_TABLES = tuple(
    f"Table of {name}"
    for name in ("residual streams", "norms of activations", "stability and weight norms")
)
STREAM_FIGURES = tuple(table.replace("Table of", "Figure:") for table in STREAM_TABLES)
STREAMS = ("Residual streams of", "Norms of")
MAP = "Map of all heads"
# Tables that are computed; those of pairs are copied from the stability jobs.
LAYER_TABLES = (CROSS_LAYER, COMMONNESS, CONTRAST, EXTREMES)
ANCHORS = "Table of the anchor's heads"
TABLES = (HEADS, LAYERS, CORRELATION, ANCHORS, *LAYER_TABLES, *STREAM_TABLES, LENGTHS, PERPLEXITY)
# Tables over all conditions; figures of single conditions are not below them.
AGGREGATES = (HEADS, LAYERS, CROSS_LAYER, COMMONNESS, LENGTHS, PERPLEXITY)
ATLAS, BY_LENGTH = "Table of matched patterns", "Stability by prompt length"

# A statement more in a module: which jobs use it. Whole rules, so patterns of their messages.
MODULES = {
    "headstability/model.py": ("Training",),
    "headstability/attention.py": ("Training",),
    "headstability/training.py": ("Training",),
    "headstability/engine.py": ("Training",),
    "headstability/recipe.py": ("Training",),
    "headstability/batches.py": ("Training",),
    "headstability/losses.py": ("Training",),
    "headstability/precision.py": ("Training",),
    "headstability/checkpoints.py": ("Training",),
    "headstability/tokenization.py": ("Making the tokenizer", "Perplexity"),
    "headstability/tokens.py": ("Making the prompt set", "Training"),
    "headstability/prompts.py": ("Making the prompt set",),
    "headstability/corpus.py": EVERYTHING,
    "headstability/files.py": EVERYTHING,
    "headstability/__init__.py": EVERYTHING,
    "headstability/activations.py": ("Caching", "Ablating"),
    "headstability/caches.py": ("Caching", "Comparing", "Stability"),
    "headstability/identity.py": ("Checking",),
    "headstability/conditions.py": ("Comparing", "Stability", BY_LENGTH),
    "headstability/similarity.py": ("Comparing", "Stability", BY_LENGTH),
    "headstability/tables/measures.py": ("Stability",),
    "headstability/tables/layers.py": LAYER_TABLES,
    "headstability/plots/depth.py": ("Figure: best matches", "Figure: most and least"),
    "headstability/ablation.py": ("Ablating",),
    "headstability/tables/__init__.py": ("Stability", *TABLES, MAP),
    "headstability/tables/reading.py": (*AGGREGATES, *STREAM_TABLES),
    "headstability/tables/stability.py": (LAYERS, "Table of the anchor's heads"),
    "headstability/tables/ablation.py": (HEADS, CORRELATION),
    "headstability/statistics.py": (HEADS, CORRELATION, *STREAM_TABLES),
    "headstability/labels.py": (*TABLES, *FIGURES),
    "headstability/plots/style.py": FIGURES,
    "headstability/plots/layers.py": (
        "Figure: layer stability",
        "Figure: commonness",
        "Figure: the contrast",
    ),
    "headstability/plots/heads.py": ("Figure: head map", "Figure: pairs"),
    "headstability/plots/ablation.py": ("Figure: stability and ablation",),
    "headstability/refit_caches.py": ("Comparing", "Stability", *STREAMS, ATLAS, BY_LENGTH),
    "headstability/tensorfiles.py": ("Training",),
    "headstability/cka.py": STREAMS,
    "headstability/residual.py": STREAMS,
    "headstability/weight_norms.py": ("Norms of",),
    "headstability/meta_sne.py": (MAP,),
    "headstability/tables/streams.py": STREAM_TABLES,
    "headstability/tables/meta_sne.py": (MAP,),
    "headstability/plots/streams.py": STREAM_FIGURES,
    "headstability/plots/meta_sne.py": ("Figure: map",),
    "headstability/triangles.py": ("Caching", "Ablating"),
    "headstability/nll.py": ("Ablating", "Perplexity"),
    "headstability/perplexity.py": ("Perplexity",),
    "headstability/texts.py": ("Perplexity",),
    "headstability/prompt_length.py": (BY_LENGTH,),
    "headstability/atlas.py": (ATLAS,),
    "headstability/tables/perplexity.py": (PERPLEXITY,),
    "headstability/tables/prompt_length.py": (LENGTHS,),
    "headstability/plots/perplexity.py": ("Figure: perplexity",),
    "headstability/plots/prompt_length.py": ("Figure: stability by",),
    "headstability/plots/atlas.py": ("Figure: head atlas",),
    "evaluate.py": ("Perplexity",),
    "prefixes.py": (BY_LENGTH,),
    "head_atlas_table.py": (ATLAS,),
    "perplexity.py": ("Figure: perplexity",),
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
    "residual_similarity.py": ("Residual streams of",),
    "norms.py": ("Norms of",),
    "residual_table.py": ("Table of residual streams",),
    "attention_norms.py": ("Figure: norms of activations",),
    "meta_sne_table.py": (MAP,),
    "draw_meta_sne.py": ("Figure: map",),
}
