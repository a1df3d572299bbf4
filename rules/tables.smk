# One tidy table beside every figure, of the same name; heads.csv holds every head of every refit.


rule heads_table:
    input:
        stability=study.per_condition(paths.stability_heads, **study.measured),
        ablations=study.per_cell(paths.ablation, **study.measured),
    output:
        table=paths.table_of("heads"),
    log:
        paths.log_of("tables/heads"),
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


rule layer_stability_table:
    input:
        stability=study.per_condition(paths.stability_heads, **study.measured),
        refits=study.per_condition(paths.refits),
    output:
        table=paths.table_of("layer_stability"),
    log:
        paths.log_of("tables/layer_stability"),
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


rule stability_ablation_table:
    input:
        heads=paths.table_of("heads"),
    output:
        table=paths.table_of("stability_ablation"),
    log:
        paths.log_of("tables/stability_ablation"),
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


rule head_map_table:
    input:
        stability=configured(paths.stability_heads, **study.measured),
    output:
        table=paths.table_of(FIGURES["head_map"]),
    log:
        paths.log_of(f"tables/{FIGURES['head_map']}"),
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


rule pairwise_table:
    input:
        pairs=configured(paths.stability_pairs, **study.measured),
    output:
        table=paths.table_of(FIGURES["pairwise"]),
    log:
        paths.log_of(f"tables/{FIGURES['pairwise']}"),
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


rule tables:
    input:
        rules.heads_table.output,
        rules.layer_stability_table.output,
        rules.stability_ablation_table.output,
        study.per_condition(paths.table_of(FIGURES["head_map"])),
        study.per_condition(paths.table_of(FIGURES["pairwise"])),
    localrule: True
