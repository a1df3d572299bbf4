# How well refits predict whole texts: B.7 of the paper.


rule evaluate:
    input:
        weights=configured(paths.checkpoint),
        kept=kept_checkpoints,
        held_out=paths.held_out_tokens,
        manifest=paths.tokens,
        tokenizer=paths.tokenizer,
        texts=study.perplexity_files(),
    output:
        perplexity=paths.perplexity,
    log:
        paths.log_of(f"evaluate/{paths.cell_name}/step{{step}}"),
    benchmark:
        paths.benchmark_of(f"evaluate/{paths.cell_name}/step{{step}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate"),
        runtime=minutes("evaluate"),
        gpu_slots=1,
    params:
        spec=spec("evaluate"),
    message:
        "Perplexity of {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/evaluate.py"


rule perplexity_table:
    input:
        perplexities=study.every(paths.perplexity, **study.measured),
    output:
        table=table_file("perplexity"),
    log:
        paths.log_of("tables/perplexity"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("perplexity_table"),
    message:
        "Table of perplexity on whole texts"
    script:
        "../scripts/perplexity_table.py"


rule perplexity:
    input:
        table=paths.table_of("perplexity"),
    output:
        **figure_files("perplexity"),
    log:
        paths.log_of("figures/perplexity"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("perplexity"),
    message:
        "Figure: perplexity on whole texts"
    script:
        "../scripts/perplexity.py"
