# Which attention heads come back when a transformer is trained again?
# Snakefile and rules/ only declare; the work is in scripts/, the study in config.yaml.
import sys

from snakemake.utils import min_version

min_version("9.27")


# The first page of `snakemake --report`.
report: "docs/captions/study.rst"


include: "rules/common.smk"
include: "rules/cluster.smk"
include: "rules/corpus.smk"
include: "rules/cells.smk"
include: "rules/sources.smk"
include: "rules/stability.smk"
include: "rules/ablation.smk"
include: "rules/layers.smk"
include: "rules/streams.smk"
include: "rules/perplexity.smk"
include: "rules/prompt_length.smk"
include: "rules/head_atlas.smk"
include: "rules/questions.smk"
include: "rules/claims.smk"
include: "rules/exports.smk"
include: "rules/targets.smk"
include: "rules/checks.smk"


rule all:
    default_target: True
    input:
        rules.figures.input,
        rules.tables.input,
        rules.measurements.input,
    localrule: True


onstart:
    if on_cluster():
        enter_cluster()
    begin()


onsuccess:
    if "verify" not in sys.argv:  # which changes nothing
        forget_finished(study.every(paths.provenance))
    print(f"Done. Figures and tables of this study are in {paths.root}.")
