# One cell = one training job; a cache per step and prompt set.


rule train:
    input:
        train=configured(paths.train_tokens),
        held_out=paths.held_out_tokens,
        manifest=paths.tokens,
    output:
        weights=kept_checkpoints,
        training=paths.training,
        provenance=paths.provenance,
    log:
        paths.log_of(f"train/{paths.cell_name}"),
    benchmark:
        paths.benchmark_of(f"train/{paths.cell_name}")
    wildcard_constraints:
        architecture=study.architecture_pattern("train"),
    conda:
        "../envs/compute.yaml"
    # Two single-thread cells side by side beat one cell on two threads by half.
    threads: 1
    resources:
        mem_mb=memory("train"),
        runtime=minutes("train"),
        gpu_slots=1,
        # Least time between saved states: how much work a killed job can lose.
        save_seconds=20,
    params:
        spec=spec("train"),
    message:
        "Training {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/train.py"


rule cache:
    input:
        weights=configured(paths.checkpoint),
        kept=kept_checkpoints,
        prompts=paths.prompts,
    output:
        cache=paths.cache if study.config.caches.keep else temp(paths.cache),
    log:
        paths.log_of(f"cache/{paths.cell_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"cache/{paths.cell_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=memory("cache"),
        runtime=minutes("cache"),
        gpu_slots=1,
    params:
        spec=spec("cache"),
    message:
        "Caching {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}, "
        "step {wildcards.step}, on {wildcards.prompts}"
    script:
        "../scripts/cache.py"


# Are the refits of a condition the different training runs they claim to be?
rule refits:
    input:
        provenance=of_refits(paths.provenance),
    output:
        refits=paths.refits,
    log:
        paths.log_of(f"refits/{paths.condition_name}"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=spec("refits"),
    message:
        "Checking that the refits of {wildcards.architecture}, wd {wildcards.weight_decay} differ"
    script:
        "../scripts/refits.py"
