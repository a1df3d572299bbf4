"""Table of an anchor's heads."""

import pandas as pd

from headstability.files import read_csv, write_csv
from headstability.tables.ablation import dead_heads_table
from headstability.tables.stability import head_map_table
from job import Job, run


def main(job: Job) -> None:
    """Write the anchor's head stabilities, and which layers have dead heads."""
    decay = job.wildcards.weight_decay
    arms = {"0": job.input.plain, decay: job.input.ablations}
    ablations = [
        read_csv(path).assign(architecture="", weight_decay=label, refit=number)
        for label, paths in arms.items()
        for number, path in enumerate(paths)
    ]
    dead = dead_heads_table(pd.concat(ablations, ignore_index=True))
    dead = dead[dead["weight_decay"] == decay]
    heads = read_csv(job.input.stability)
    write_csv(job.output.table, head_map_table(heads, job.spec["anchor"], dead))


run(snakemake, main)
