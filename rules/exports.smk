# Cells in the formats of other tools, on request: `all` makes none of these.


rule write_transformerlens:
    input:
        weights=configured(paths.checkpoint),
        kept=kept_checkpoints,
    output:
        state=paths.transformerlens_state,
        config=paths.transformerlens_config,
    log:
        paths.log_of(f"exports/transformerlens/{paths.cell_name}/step{{step}}"),
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("write_transformerlens"),
        runtime=minutes("write_transformerlens"),
    params:
        spec=uses(),
    message:
        "Exporting {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}, "
        "step {wildcards.step}, for TransformerLens"
    script:
        "../scripts/cells/write_transformerlens.py"


rule write_huggingface:
    input:
        weights=configured(paths.checkpoint),
        kept=kept_checkpoints,
        manifest=paths.tokens,
    output:
        config=paths.huggingface_config,
        weights=paths.huggingface_weights,
        modelling=paths.huggingface_modelling,
    log:
        paths.log_of(f"exports/huggingface/{paths.cell_name}/step{{step}}"),
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("write_huggingface"),
        runtime=minutes("write_huggingface"),
    params:
        spec=uses(),
    message:
        "Exporting {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}, "
        "step {wildcards.step}, for transformers"
    script:
        "../scripts/cells/write_huggingface.py"


# The last step of every cell.
rule export_transformerlens:
    input:
        study.every(paths.transformerlens_state, step=study.steps),
    localrule: True


rule export_huggingface:
    input:
        study.every(paths.huggingface_weights, step=study.steps),
    localrule: True
