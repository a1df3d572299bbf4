# What the heads write into: residual streams (4.7), norms of activations (B.6) and of weights
# (4.4.1), and all heads at once (4.9 of the paper).


rule residual_similarity:
    input:
        caches=of_refits(paths.cache),
        # Not read: nothing of refits that are copies of one another.
        refits=paths.refits,
    output:
        pairs=paths.residual,
    log:
        paths.log_of(f"residual/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"residual/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    # The result does not depend on it.
    threads: 2
    resources:
        mem_mb=memory("residual_similarity"),
        runtime=minutes("residual_similarity"),
    params:
        spec=spec("residual_similarity"),
    message:
        "Residual streams of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/residual_similarity.py"


rule norms:
    input:
        caches=of_refits(paths.cache),
        # Not read, as above.
        refits=paths.refits,
    output:
        streams=paths.norms_streams,
        weights=paths.norms_weights,
    log:
        paths.log_of(f"norms/{paths.condition_name}/step{{step}}/{{prompts}}"),
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("norms"),
        runtime=minutes("norms"),
    params:
        spec=spec("norms"),
    message:
        "Norms of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/norms.py"


rule residual_table:
    input:
        pairs=study.every(paths.residual, **study.measured),
        layers=paths.table_of("layer_stability"),
    output:
        table=table_file("residual"),
    log:
        paths.log_of("tables/residual"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("residual_table"),
    message:
        "Table of residual streams"
    script:
        "../scripts/residual_table.py"


rule residual:
    input:
        table=paths.table_of("residual"),
    output:
        **figure_files("residual"),
    log:
        paths.log_of("figures/residual"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("residual"),
    message:
        "Figure: residual streams"
    script:
        "../scripts/residual.py"


rule attention_norms_table:
    input:
        norms=study.every(paths.norms_streams, **study.measured),
    output:
        table=table_file("attention_norms"),
    log:
        paths.log_of("tables/attention_norms"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("attention_norms_table"),
    message:
        "Table of norms of activations"
    script:
        "../scripts/attention_norms_table.py"


rule attention_norms:
    input:
        table=paths.table_of("attention_norms"),
    output:
        **figure_files("attention_norms"),
    log:
        paths.log_of("figures/attention_norms"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("attention_norms"),
    message:
        "Figure: norms of activations"
    script:
        "../scripts/attention_norms.py"


rule weight_norms_table:
    input:
        norms=study.every(paths.norms_weights, **study.measured),
        layers=paths.table_of("layer_stability"),
    output:
        table=table_file("weight_norms"),
    log:
        paths.log_of("tables/weight_norms"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("weight_norms_table"),
    message:
        "Table of stability and weight norms"
    script:
        "../scripts/weight_norms_table.py"


rule weight_norms:
    input:
        table=paths.table_of("weight_norms"),
    output:
        **figure_files("weight_norms"),
    log:
        paths.log_of("figures/weight_norms"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("weight_norms"),
    message:
        "Figure: stability and weight norms"
    script:
        "../scripts/weight_norms.py"


rule meta_sne_table:
    input:
        caches=of_refits(paths.cache, **study.measured),
        # Not read, as above.
        refits=of_refits(paths.refits),
    output:
        table=table_file("meta_sne"),
    log:
        paths.log_of(f"tables/{FIGURES['meta_sne']}"),
    benchmark:
        paths.benchmark_of(f"tables/{FIGURES['meta_sne']}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("meta_sne_table"),
        runtime=minutes("meta_sne_table"),
    params:
        spec=spec("meta_sne_table"),
    message:
        "Map of all heads, wd {wildcards.weight_decay}"
    script:
        "../scripts/meta_sne_table.py"


rule draw_meta_sne:
    input:
        table=configured(paths.table_of(FIGURES["meta_sne"])),
    output:
        **figure_files("meta_sne"),
    log:
        paths.log_of(f"figures/{FIGURES['meta_sne']}"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("draw_meta_sne"),
    message:
        "Figure: map of all heads, wd {wildcards.weight_decay}"
    script:
        "../scripts/draw_meta_sne.py"


rule meta_sne:
    input:
        study.figure_paths("meta_sne"),
    localrule: True
