# One rule over one table a figure. Rule names are the short targets: snakemake layer_stability


rule layer_stability:
    input:
        table=paths.table_of("layer_stability"),
    output:
        **paths.figure_files("layer_stability"),
    log:
        paths.log_of("figures/layer_stability"),
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


rule stability_ablation:
    input:
        table=paths.table_of("stability_ablation"),
    output:
        **paths.figure_files("stability_ablation"),
    log:
        paths.log_of("figures/stability_ablation"),
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("stability_ablation"),
    message:
        "Figure: stability and ablation effects"
    script:
        "../scripts/stability_ablation.py"


rule draw_head_map:
    input:
        table=configured(paths.table_of(FIGURES["head_map"])),
    output:
        **paths.figure_files(FIGURES["head_map"]),
    log:
        paths.log_of(f"figures/{FIGURES['head_map']}"),
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


rule draw_pairwise:
    input:
        table=configured(paths.table_of(FIGURES["pairwise"])),
    output:
        **paths.figure_files(FIGURES["pairwise"]),
    log:
        paths.log_of(f"figures/{FIGURES['pairwise']}"),
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


rule head_map:
    input:
        study.figure_paths("head_map"),
    localrule: True


rule pairwise:
    input:
        study.figure_paths("pairwise"),
    localrule: True


rule figures:
    input:
        study.figure_paths(),
    localrule: True


# What no rule makes: say what there is.
rule unknown_output:
    input:
        explain_unknown_output,
    output:
        study.unknown_output_pattern,
    localrule: True


rule unknown_target:
    input:
        explain_unknown_output,
    output:
        study.unknown_target_pattern,
    localrule: True
