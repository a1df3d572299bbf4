# Stability on shorter prompts: 4.4.2 of the paper.


rule prefixes:
    input:
        caches=of_refits(paths.cache),
        # Not read: no stability of refits that are copies of one another.
        refits=paths.refits,
    output:
        lengths=paths.prompt_length,
    log:
        paths.log_of(f"prefixes/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"prefixes/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("prefixes"),
        runtime=minutes("prefixes"),
    params:
        spec=spec("prefixes"),
    message:
        "Stability by prompt length of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/prefixes.py"


rule prompt_length_table:
    input:
        lengths=study.every(paths.prompt_length, **study.measured),
    output:
        table=table_file("prompt_length"),
    log:
        paths.log_of("tables/prompt_length"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("prompt_length_table"),
    message:
        "Table of stability by prompt length"
    script:
        "../scripts/prompt_length_table.py"


rule prompt_length:
    input:
        table=paths.table_of("prompt_length"),
    output:
        **figure_files("prompt_length"),
    log:
        paths.log_of("figures/prompt_length"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("prompt_length"),
    message:
        "Figure: stability by prompt length"
    script:
        "../scripts/prompt_length.py"
