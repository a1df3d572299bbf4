# Every row of the registry: the rules that compute its tables and draw its figure.


for row in ROWS:

    rule:
        name:
            row.table_rule
        input:
            **table_inputs(row),
        output:
            **table_outputs(row),
        log:
            paths.log_of(f"tables/{row.path}"),
        benchmark:
            paths.benchmark_of(f"tables/{row.path}")
        # A cluster gets a job for what is large.
        localrule: not row.large
        conda:
            "../envs/compute.yaml"
        resources:
            mem_mb=memory(row.table_rule) if row.large else 4000,
            runtime=minutes(row.table_rule) if row.large else 30,
        params:
            spec=uses(*table_keys(row), **table_call(row)),
        message:
            f"Table of {row.subject}"
        script:
            "../scripts/figures/table.py"

    if row.draw:

        rule:
            name:
                row.rule
            input:
                **figure_inputs(row),
            output:
                **figure_outputs(row),
            log:
                paths.log_of(f"figures/{row.path}"),
            localrule: True
            conda:
                "../envs/figures.yaml"
            resources:
                mem_mb=1000,
                runtime=5,
            params:
                spec=uses(
                    "figures.dpi", *row.look.values(), function=row.draw, look=row.look
                ),
            message:
                f"Figure: {row.subject}"
            script:
                "../scripts/figures/figure.py"

    # All of them have the short name.
    if row.per:

        rule:
            name:
                row.name
            input:
                study.figure_paths(row.name),
            localrule: True
