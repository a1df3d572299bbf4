# Patterns of an anchor's heads beside their best matches in other refits.


rule head_atlas_table:
    input:
        caches=of_refits(paths.cache, refit=study.atlas_refits(), **study.measured),
        heads=configured(paths.stability_heads, **study.measured),
        matches=configured(paths.stability_matches, **study.measured),
        prompts=configured(paths.prompts, **study.measured),
        tokenizer=paths.tokenizer,
    output:
        table=table_file("head_atlas"),
    log:
        paths.log_of(f"tables/{FIGURES['head_atlas']}"),
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("head_atlas_table"),
        runtime=minutes("head_atlas_table"),
    params:
        spec=spec("head_atlas_table"),
    message:
        "Table of matched patterns of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/head_atlas_table.py"


rule draw_head_atlas:
    input:
        table=configured(paths.table_of(FIGURES["head_atlas"])),
    output:
        **figure_files("head_atlas"),
    log:
        paths.log_of(f"figures/{FIGURES['head_atlas']}"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("draw_head_atlas"),
    message:
        "Figure: head atlas of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/draw_head_atlas.py"


rule head_atlas:
    input:
        study.figure_paths("head_atlas"),
    localrule: True
