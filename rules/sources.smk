# Cells that were trained elsewhere: from the hub or local files to the checkpoints of a cell.


rule download_weights:
    output:
        download=paths.download,
    log:
        paths.log_of(f"download/{paths.cell_name}"),
    wildcard_constraints:
        architecture=study.architecture_pattern("download_weights"),
    # Where the network is: compute nodes often have none.
    localrule: True
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        spec=uses("places", "architectures.{architecture}.source.sha256"),
    message:
        "Fetching {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/cells/download_weights.py"


rule import_weights:
    input:
        files=source_files,
        download=fetched,
        held_out=paths.held_out_tokens,
        manifest=paths.tokens,
    output:
        weights=kept_checkpoints,
        provenance=paths.provenance,
    log:
        paths.log_of(f"import/{paths.cell_name}"),
    wildcard_constraints:
        architecture=study.architecture_pattern("import_weights"),
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=memory("import_weights"),
        runtime=minutes("import_weights"),
        gpu_slots=1,
    params:
        spec=uses(
            "places",
            "architectures.{architecture}.source.sha256",
            "source_content",
            "source_activation",
            "shape",
            "cell_seeds",
            "checkpoint_steps",
            "training.context",
            "training.held_out_rows",
            "training.device",
        ),
    message:
        "Importing {wildcards.architecture}, wd {wildcards.weight_decay}, {wildcards.refit}"
    script:
        "../scripts/cells/import_weights.py"
