# How well the heads of a condition are found again: 4.1 of the paper.


rule similarity:
    input:
        caches=of_refits(paths.cache),
        # Not read: no similarity of refits that are copies of one another.
        refits=paths.refits,
    output:
        similarity=paths.similarity,
    log:
        paths.log_of(f"similarity/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(
            f"similarity/{paths.condition_name}/step{{step}}/{{prompts}}"
        )
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("similarity"),
        runtime=minutes("similarity"),
    params:
        spec=spec("similarity"),
    message:
        "Comparing the heads of {wildcards.architecture}, wd {wildcards.weight_decay}, "
        "step {wildcards.step}"
    script:
        "../scripts/similarity.py"


rule stability:
    input:
        similarity=configured(paths.similarity),
    output:
        heads=paths.stability_heads,
        pairs=paths.stability_pairs,
        matches=paths.stability_matches,
        cross_layer=paths.stability_cross_layer,
        commonness=paths.stability_commonness,
    log:
        paths.log_of(f"stability/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"stability/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("stability"),
        runtime=minutes("stability"),
    params:
        spec=spec("stability"),
    message:
        "Stability of {wildcards.architecture}, wd {wildcards.weight_decay}, step {wildcards.step}"
    script:
        "../scripts/stability.py"


rule layer_stability_table:
    input:
        stability=study.every(paths.stability_heads, **study.measured),
        refits=study.every(paths.refits),
    output:
        table=paths.table_of("layer_stability"),
    log:
        paths.log_of("tables/layer_stability"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("layer_stability_table"),
    message:
        "Table of layer stability"
    script:
        "../scripts/layer_stability_table.py"


rule layer_stability:
    input:
        table=paths.table_of("layer_stability"),
        dead=paths.table_of("dead_heads"),
    output:
        **figure_files("layer_stability"),
    log:
        paths.log_of("figures/layer_stability"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("layer_stability"),
    message:
        "Figure: layer stability"
    script:
        "../scripts/layer_stability.py"


# Beside what the paper published, for conditions of the same shape; on request.
rule published:
    input:
        table=paths.table_of("layer_stability"),
        extremes=paths.published,
        layers=paths.published_layers,
    output:
        table=paths.table_of("published"),
    log:
        paths.log_of("tables/published"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("published"),
    message:
        "Table of published values beside this study's"
    script:
        "../scripts/published.py"


rule head_map_table:
    input:
        stability=configured(paths.stability_heads, **study.measured),
        # Heads that cost next to nothing beside those without weight decay are dead.
        ablations=of_refits(paths.ablation, **study.measured),
        plain=(
            of_refits(paths.ablation, **study.measured, weight_decay="0")
            if "0" in study.weight_decays
            else []
        ),
    output:
        table=paths.table_of(FIGURES["head_map"]),
    log:
        paths.log_of(f"tables/{FIGURES['head_map']}"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("head_map_table"),
    message:
        "Table of the anchor's heads of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/head_map_table.py"


rule draw_head_map:
    input:
        table=configured(paths.table_of(FIGURES["head_map"])),
    output:
        **figure_files("head_map"),
    log:
        paths.log_of(f"figures/{FIGURES['head_map']}"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("draw_head_map"),
    message:
        "Figure: head map of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/draw_head_map.py"


rule head_map:
    input:
        study.figure_paths("head_map"),
    localrule: True


rule pairwise_table:
    input:
        pairs=configured(paths.stability_pairs, **study.measured),
    output:
        table=paths.table_of(FIGURES["pairwise"]),
    log:
        paths.log_of(f"tables/{FIGURES['pairwise']}"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("pairwise_table"),
    message:
        "Table of pairs of refits of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/pairwise_table.py"


rule draw_pairwise:
    input:
        table=configured(paths.table_of(FIGURES["pairwise"])),
    output:
        **figure_files("pairwise"),
    log:
        paths.log_of(f"figures/{FIGURES['pairwise']}"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("draw_pairwise"),
    message:
        "Figure: pairs of refits of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/draw_pairwise.py"


rule pairwise:
    input:
        study.figure_paths("pairwise"),
    localrule: True
