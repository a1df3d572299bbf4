"""Table of adjusted stability."""

import pandas as pd

from headstability.files import read_csv, write_csv
from headstability.tables.adjusted import adjusted_table
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write the table beside the figure."""
    spec = job.spec
    stacked = {
        name: read_conditions(spec["conditions"], job.input[name])
        for name in ("pairs", "without_prompts")
    }
    untrained = None
    if spec["untrained"]:
        names = dict.fromkeys(item["architecture"] for item in spec["conditions"])
        tables = [
            read_csv(path).assign(architecture=name)
            for name, path in zip(names, job.input.untrained, strict=True)
        ]
        untrained = pd.concat(tables, ignore_index=True)
    refits = {name: spec["init_seeds"][name] for name in spec["refits"]}
    table = adjusted_table(
        **stacked,
        untrained=untrained,
        refits=refits,
        heads=spec["heads"],
        crossed=spec["crossed"],
    )
    write_csv(job.output.table, table)


run(snakemake, main)
