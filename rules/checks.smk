# Looking at a study without changing it.


# snakemake verify: every file against its recorded hash; what is missing, damaged or orphaned.
rule verify:
    log:
        paths.log_of("verify"),
    localrule: True
    conda:
        "../envs/compute.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        spec=uses("root", "config_record"),
    message:
        "Verifying every file of the study"
    script:
        "../scripts/checks/verify.py"
