# What is measured of the refits of a condition (docs/experiments.md).


rule similarity:
    input:
        caches=of_refits(paths.cache),
        # Not read, here and below: nothing is measured of refits that are copies of one another.
        refits=paths.refits,
    output:
        similarity=paths.similarity,
    log:
        paths.log_of(f"similarity/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(
            f"similarity/{paths.condition_name}/step{{step}}/{{prompts}}"
        )
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("similarity"),
        runtime=minutes("similarity"),
    params:
        spec=uses("refit_names"),
    message:
        "Comparing the heads of {wildcards.architecture}, wd {wildcards.weight_decay}, "
        "step {wildcards.step}"
    script:
        "../scripts/conditions/similarity.py"


rule stability:
    input:
        similarity=configured(paths.similarity),
    output:
        heads=paths.stability_heads,
        pairs=paths.stability_pairs,
        matches=paths.stability_matches,
        cross_layer=paths.stability_cross_layer,
        commonness=paths.stability_commonness,
    log:
        paths.log_of(f"stability/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"stability/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("stability"),
        runtime=minutes("stability"),
    params:
        spec=uses("refit_names"),
    message:
        "Stability of {wildcards.architecture}, wd {wildcards.weight_decay}, step {wildcards.step}"
    script:
        "../scripts/conditions/stability.py"


rule measures:
    input:
        caches=of_refits(paths.cache),
        # Not read: no similarity of refits that are copies of one another.
        refits=paths.refits,
    output:
        measures=paths.measures,
    log:
        paths.log_of(f"measures/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"measures/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("measures"),
        runtime=minutes("measures"),
    params:
        spec=uses("refit_names", "null_measures"),
    message:
        "Comparing the heads of {wildcards.architecture}, wd {wildcards.weight_decay}, "
        "step {wildcards.step}, by every measure"
    script:
        "../scripts/conditions/measures.py"


rule adjust:
    input:
        similarity=configured(paths.similarity),
        measures=configured(paths.measures),
    output:
        pairs=paths.adjusted_pairs,
        without_prompts=paths.adjusted_without_prompts,
        matches=paths.adjusted_matches,
        heads=paths.adjusted_heads,
        shared=paths.shared,
        identity=paths.identity,
    log:
        paths.log_of(f"adjust/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"adjust/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("adjust"),
        runtime=minutes("adjust"),
    params:
        spec=uses("refit_names", "null_measures"),
    message:
        "Shared and specific parts of {wildcards.architecture}, wd {wildcards.weight_decay}, "
        "step {wildcards.step}"
    script:
        "../scripts/conditions/adjust.py"


rule twins:
    input:
        caches=of_refits(paths.cache),
        # Not read: nothing of refits that are copies of one another.
        refits=of_refits(paths.refits),
    output:
        similarities=paths.twin_similarities,
        table=paths.twins,
    log:
        paths.log_of("twins/{architecture}/step{step}/{prompts}"),
    benchmark:
        paths.benchmark_of("twins/{architecture}/step{step}/{prompts}")
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("twins"),
        runtime=minutes("twins"),
    params:
        spec=uses("refit_names", "decay_labels"),
    message:
        "Comparing the same seeds of {wildcards.architecture} with different weight decays"
    script:
        "../scripts/conditions/twins.py"


rule prefixes:
    input:
        caches=of_refits(paths.cache),
        refits=paths.refits,
    output:
        lengths=paths.prompt_length,
    log:
        paths.log_of(f"prefixes/{paths.condition_name}/step{{step}}/{{prompts}}"),
    benchmark:
        paths.benchmark_of(f"prefixes/{paths.condition_name}/step{{step}}/{{prompts}}")
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("prefixes"),
        runtime=minutes("prefixes"),
    params:
        spec=uses("refit_names", "prompt_lengths"),
    message:
        "Stability by prompt length of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/conditions/prefixes.py"


rule residual_similarity:
    input:
        caches=of_refits(paths.cache),
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
        spec=uses("refit_names", "streams"),
    message:
        "Residual streams of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/conditions/residual_similarity.py"


rule norms:
    input:
        caches=of_refits(paths.cache),
        refits=paths.refits,
    output:
        streams=paths.norms_streams,
        weights=paths.norms_weights,
    log:
        paths.log_of(f"norms/{paths.condition_name}/step{{step}}/{{prompts}}"),
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("norms"),
        runtime=minutes("norms"),
    params:
        spec=uses("refit_names"),
    message:
        "Norms of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/conditions/norms.py"


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
    resources:
        mem_mb=memory("role_stability"),
        runtime=minutes("role_stability"),
    params:
        spec=uses("refit_names", "seeds", "roles.least"),
    message:
        "Roles of the heads of {wildcards.architecture}, wd {wildcards.weight_decay}"
    script:
        "../scripts/conditions/role_stability.py"
