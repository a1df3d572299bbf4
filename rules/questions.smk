# What else a study can be asked: where instability comes from, its dose response, its time course,
# how many refits show it, and what the stable heads are.


rule origin_table:
    input:
        pairs=for_figure("origin", paths.stability_pairs),
    output:
        table=table_file("origin"),
    log:
        paths.log_of("tables/origin"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("origin_table"),
    message:
        "Table of where instability comes from"
    script:
        "../scripts/origin_table.py"


rule origin:
    input:
        table=paths.table_of("origin"),
    output:
        **figure_files("origin"),
    log:
        paths.log_of("figures/origin"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("origin"),
    message:
        "Figure: where instability comes from"
    script:
        "../scripts/origin.py"


rule dose_table:
    input:
        pairs=for_figure("dose", paths.stability_pairs),
        adjusted=for_figure("dose", paths.adjusted_pairs),
        refits=study.every(paths.refits),
    output:
        table=table_file("dose"),
    log:
        paths.log_of("tables/dose"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("dose_table"),
    message:
        "Table of the dose response to weight decay"
    script:
        "../scripts/dose_table.py"


rule dose:
    input:
        table=paths.table_of("dose"),
    output:
        **figure_files("dose"),
    log:
        paths.log_of("figures/dose"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("dose"),
    message:
        "Figure: the dose response to weight decay"
    script:
        "../scripts/dose.py"


rule time_course_table:
    input:
        pairs=for_figure("time_course", paths.stability_pairs, step=study.time_steps),
        adjusted=for_figure("time_course", paths.adjusted_pairs, step=study.time_steps),
        ablations=study.every(
            paths.ablation, **{**study.measured, "step": study.time_steps}
        ),
    output:
        table=table_file("time_course"),
    log:
        paths.log_of("tables/time_course"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("time_course_table"),
    message:
        "Table of measures over training"
    script:
        "../scripts/time_course_table.py"


rule time_course:
    input:
        table=paths.table_of("time_course"),
    output:
        **figure_files("time_course"),
    log:
        paths.log_of("figures/time_course"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("time_course"),
    message:
        "Figure: measures over training"
    script:
        "../scripts/time_course.py"


rule refits_needed_table:
    input:
        pairs=for_figure("refits_needed", paths.stability_pairs),
    output:
        table=table_file("refits_needed"),
    log:
        paths.log_of("tables/refits_needed"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("refits_needed_table"),
    message:
        "Table of how many refits are needed"
    script:
        "../scripts/refits_needed_table.py"


rule refits_needed:
    input:
        table=paths.table_of("refits_needed"),
    output:
        **figure_files("refits_needed"),
    log:
        paths.log_of("figures/refits_needed"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("refits_needed"),
    message:
        "Figure: how many refits are needed"
    script:
        "../scripts/refits_needed.py"


rule role_scores:
    input:
        cache=configured(paths.cache),
        weights=configured(paths.checkpoint),
        kept=kept_checkpoints,
        prompts=paths.prompts,
    output:
        scores=paths.role_scores,
    log:
        paths.log_of(f"role_scores/{paths.cell_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"role_scores/{paths.cell_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("role_scores"),
        runtime=minutes("role_scores"),
        gpu_slots=1,
    params:
        spec=spec("role_scores"),
    message:
        "Scoring the heads of {wildcards.architecture}, wd {wildcards.weight_decay}, "
        "{wildcards.refit}"
    script:
        "../scripts/role_scores.py"


rule role_stability:
    input:
        scores=of_refits(paths.role_scores),
        matches=configured(paths.stability_matches),
    output:
        heads=paths.role_heads,
        stability=paths.role_stability,
    log:
        paths.log_of(f"roles/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"roles/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("role_stability"),
        runtime=minutes("role_stability"),
    params:
        spec=spec("role_stability"),
    message:
        "Roles of the heads of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/role_stability.py"


rule roles_table:
    input:
        heads=study.every(paths.role_heads, **study.measured),
        stability=study.every(paths.role_stability, **study.measured),
    output:
        table=table_file("roles"),
        stability=table_file("roles_stability"),
    log:
        paths.log_of("tables/roles"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=spec("roles_table"),
    message:
        "Table of roles"
    script:
        "../scripts/roles_table.py"


rule roles:
    input:
        table=paths.table_of("roles"),
        stability=paths.table_of("roles_stability"),
    output:
        **figure_files("roles"),
    log:
        paths.log_of("figures/roles"),
    localrule: True
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("roles"),
    message:
        "Figure: stability by role"
    script:
        "../scripts/roles.py"
