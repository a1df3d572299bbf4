# What is asked of a condition: are its refits real, are their heads stable, what do they do.


rule refits:
    input:
        provenance=of_refits(paths.provenance),
    output:
        refits=paths.refits,
    log:
        paths.log_of(f"refits/{paths.condition_name}"),
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("refits"),
    message:
        "Checking that the refits of {wildcards.architecture}, wd {wildcards.weight_decay} differ"
    script:
        "../scripts/refits.py"


rule stability:
    input:
        caches=of_refits(paths.cache),
        # Not read: no stability of refits that are copies of one another.
        refits=paths.refits,
    output:
        heads=paths.stability_heads,
        pairs=paths.stability_pairs,
        matches=paths.stability_matches,
    log:
        paths.log_of(f"stability/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"stability/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        spec=spec("stability"),
    message:
        "Stability of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/stability.py"


rule ablation:
    input:
        weights=configured(paths.checkpoint),
        kept=kept_checkpoints,
        text=study.ablation_files,
    output:
        ablation=paths.ablation,
    log:
        paths.log_of(f"ablation/{paths.cell_name}/step{{step}}/{{text}}"),
    benchmark:
        paths.benchmark_of(f"ablation/{paths.cell_name}/step{{step}}/{{text}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        spec=spec("ablation"),
    message:
        "Ablating {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/ablation.py"


# Small, and what everything else rests on: asked for by `all`, so that what a killed run took
# away comes back even where no table below it has to be made again.
rule measurements:
    input:
        study.per_condition(paths.refits),
        study.per_condition(paths.stability_heads, **study.measured),
        study.per_condition(paths.stability_pairs, **study.measured),
        study.per_condition(paths.stability_matches, **study.measured),
        study.per_cell(paths.ablation, **study.measured),
    localrule: True
