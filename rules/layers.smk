# What layers are like: 4.2, 4.3, 4.5 and 4.6 of the paper.


rule cross_layer_table:
    input:
        cross_layer=study.every(paths.stability_cross_layer, **study.measured),
        layer_stability=paths.table_of("layer_stability"),
    output:
        table=table_file("cross_layer"),
    log:
        paths.log_of("tables/cross_layer"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("cross_layer_table"),
    message:
        "Table of best matches in any layer"
    script:
        "../scripts/cross_layer_table.py"


rule cross_layer:
    input:
        table=paths.table_of("cross_layer"),
    output:
        **figure_files("cross_layer"),
    log:
        paths.log_of("figures/cross_layer"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("cross_layer"),
    message:
        "Figure: best matches in any layer"
    script:
        "../scripts/cross_layer.py"


rule commonness_table:
    input:
        heads=study.every(paths.stability_commonness, **study.measured),
    output:
        table=table_file("commonness"),
    log:
        paths.log_of("tables/commonness"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("commonness_table"),
    message:
        "Table of commonness"
    script:
        "../scripts/commonness_table.py"


rule commonness:
    input:
        table=paths.table_of("commonness"),
    output:
        **figure_files("commonness"),
    log:
        paths.log_of("figures/commonness"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("commonness"),
    message:
        "Figure: commonness"
    script:
        "../scripts/commonness.py"


rule weight_decay_contrast_table:
    input:
        layer_stability=paths.table_of("layer_stability"),
    output:
        table=table_file("weight_decay_contrast"),
    log:
        paths.log_of("tables/weight_decay_contrast"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("weight_decay_contrast_table"),
    message:
        "Table of the contrast of weight decays"
    script:
        "../scripts/weight_decay_contrast_table.py"


rule weight_decay_contrast:
    input:
        table=paths.table_of("weight_decay_contrast"),
    output:
        **figure_files("weight_decay_contrast"),
    log:
        paths.log_of("figures/weight_decay_contrast"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("weight_decay_contrast"),
    message:
        "Figure: the contrast of weight decays"
    script:
        "../scripts/weight_decay_contrast.py"


rule extremes_table:
    input:
        layer_stability=paths.table_of("layer_stability"),
    output:
        table=table_file("extremes"),
    log:
        paths.log_of("tables/extremes"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("extremes_table"),
    message:
        "Table of most and least stable layers"
    script:
        "../scripts/extremes_table.py"


rule extremes:
    input:
        table=paths.table_of("extremes"),
    output:
        **figure_files("extremes"),
    log:
        paths.log_of("figures/extremes"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("extremes"),
    message:
        "Figure: most and least stable layers"
    script:
        "../scripts/extremes.py"
