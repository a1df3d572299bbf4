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
        spec=uses(
            "shape",
            "cell_seeds",
            "checkpoint_steps",
            "steps",
            "training.batch",
            "training.context",
            "training.learning_rate",
            "training.warmup_steps",
            "training.schedule",
            "training.betas",
            "training.clip",
            "training.precision",
            "training.compile",
            "training.microbatch",
            "training.device",
            "training.log_every",
            "training.evaluate_every",
            "training.held_out_rows",
        ),
    message:
        "Training {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/cells/train.py"


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
    resources:
        mem_mb=memory("cache"),
        runtime=minutes("cache"),
        gpu_slots=1,
    params:
        spec=uses("training.device", "streams"),
    message:
        "Caching {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}, "
        "step {wildcards.step}, on {wildcards.prompts}"
    script:
        "../scripts/cells/cache.py"


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
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=uses("refit_names"),
    message:
        "Checking that the refits of {wildcards.architecture}, wd {wildcards.weight_decay} differ"
    script:
        "../scripts/cells/refits.py"


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
    resources:
        mem_mb=memory("ablation"),
        runtime=minutes("ablation"),
        gpu_slots=1,
    params:
        spec=uses("training.device", "ablation.methods", "ablated_rows"),
    message:
        "Ablating {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/cells/ablation.py"


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
    resources:
        mem_mb=memory("evaluate"),
        runtime=minutes("evaluate"),
        gpu_slots=1,
    params:
        spec=uses(
            "bos",
            "training.device",
            "training.context",
            "perplexity.texts",
            "perplexity_content",
        ),
    message:
        "Perplexity of {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/cells/evaluate.py"


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
    resources:
        mem_mb=memory("role_scores"),
        runtime=minutes("role_scores"),
        gpu_slots=1,
    params:
        spec=uses("training.device", "roles.prompts", "roles.tokens", "roles.seed"),
    message:
        "Scoring the heads of {wildcards.architecture}, wd {wildcards.weight_decay}, "
        "{wildcards.refit}"
    script:
        "../scripts/cells/role_scores.py"
