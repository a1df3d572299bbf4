# Which attention heads recur when a transformer is trained again?
# Snakefile and rules/ only declare: the work is done in scripts/, the study is in config.yaml.
from snakemake.utils import min_version

min_version("9.27")


# The first page of `snakemake --report`.
report: "docs/captions/study.rst"


include: "rules/common.smk"
include: "rules/cluster.smk"
include: "rules/corpus.smk"
include: "rules/cells.smk"
include: "rules/sources.smk"
include: "rules/conditions.smk"
include: "rules/rows.smk"
include: "rules/figures.smk"
include: "rules/exports.smk"
include: "rules/targets.smk"
include: "rules/checks.smk"
include: "rules/graph.smk"


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
    if not only_looks():
        forget_finished(study.every(paths.provenance))
    print(f"Done. Figures and tables of this study are in {paths.root}.")
