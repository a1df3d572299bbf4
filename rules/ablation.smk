# What a head is good for: 4.8 of the paper.


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
        mem_mb=memory("ablation"),
        runtime=minutes("ablation"),
        gpu_slots=1,
    params:
        spec=spec("ablation"),
    message:
        "Ablating {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/ablation.py"


rule heads_table:
    input:
        stability=study.every(paths.stability_heads, **study.measured),
        ablations=study.every(paths.ablation, **study.measured),
    output:
        table=table_file("heads"),
        dead=table_file("dead_heads"),
    log:
        paths.log_of("tables/heads"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("heads_table"),
    message:
        "Table of all heads"
    script:
        "../scripts/heads_table.py"


rule stability_ablation_table:
    input:
        heads=paths.table_of("heads"),
    output:
        table=table_file("stability_ablation"),
        trend=table_file("stability_ablation_trend"),
    log:
        paths.log_of("tables/stability_ablation"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("stability_ablation_table"),
    message:
        "Table of the correlation of stability with ablation effects"
    script:
        "../scripts/stability_ablation_table.py"


rule stability_ablation:
    input:
        table=paths.table_of("stability_ablation"),
    output:
        **figure_files("stability_ablation"),
    log:
        paths.log_of("figures/stability_ablation"),
    localrule: True
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
