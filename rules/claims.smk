# What is left of stability once its biases are gone, and what it says of the paper's five claims.


rule adjust:
    input:
        similarity=configured(paths.similarity),
        caches=of_refits(paths.cache),
    output:
        pairs=paths.adjusted_pairs,
        without_prompts=paths.adjusted_without_prompts,
        matches=paths.adjusted_matches,
        heads=paths.adjusted_heads,
    log:
        paths.log_of(f"adjust/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"adjust/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("adjust"),
        runtime=minutes("adjust"),
    params:
        spec=spec("adjust"),
    message:
        "Adjusted stability of {wildcards.architecture}, wd {wildcards.weight_decay}, "
        "step {wildcards.step}"
    script:
        "../scripts/adjust.py"


rule adjusted_table:
    input:
        pairs=study.every(paths.adjusted_pairs, **study.measured),
        without_prompts=study.every(paths.adjusted_without_prompts, **study.measured),
        untrained=study.untrained_files(paths.stability_pairs),
        # Of the trained weights; not read: the files of step 0 are made by the same rule.
        trained=study.every(paths.stability_pairs, **study.measured),
    output:
        table=table_file("adjusted"),
    log:
        paths.log_of("tables/adjusted"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("adjusted_table"),
    message:
        "Table of adjusted stability"
    script:
        "../scripts/adjusted_table.py"


rule adjusted:
    input:
        table=paths.table_of("adjusted"),
    output:
        **figure_files("adjusted"),
    log:
        paths.log_of("figures/adjusted"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("adjusted"),
    message:
        "Figure: adjusted stability"
    script:
        "../scripts/adjusted.py"


rule claims_table:
    input:
        pairs=study.every(paths.adjusted_pairs, **study.measured),
        without_prompts=study.every(paths.adjusted_without_prompts, **study.measured),
        matches=study.every(paths.adjusted_matches, **study.measured),
        commonness=study.every(paths.stability_commonness, **study.measured),
        residual=study.every(paths.residual, **study.measured),
        ablations=study.every(paths.ablation, **study.measured),
        perplexity=study.every(paths.perplexity, **study.measured),
        dead=paths.table_of("dead_heads"),
        published=paths.published,
    output:
        table=table_file("claims"),
        report=report(
            paths.claims_report,
            caption=caption("tables/claims_report"),
            **place("claims_report"),
        ),
    log:
        paths.log_of("tables/claims"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=spec("claims_table"),
    message:
        "Table of the claims"
    script:
        "../scripts/claims_table.py"


rule claims:
    input:
        table=paths.table_of("claims"),
    output:
        **figure_files("claims"),
    log:
        paths.log_of("figures/claims"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("claims"),
    message:
        "Figure: the claims"
    script:
        "../scripts/claims.py"
