"""Table of published values beside this study's."""

import pandas as pd

from headstability.files import read_csv, write_csv
from headstability.tables.published import published_table
from job import Job, run


def main(job: Job) -> None:
    """Write tables/published.csv."""
    ours = read_csv(job.input.table)
    extremes, layers = pd.read_csv(job.input.extremes), pd.read_csv(job.input.layers)
    table = published_table(ours, extremes, layers, job.spec["shapes"], job.spec["anchor"])
    write_csv(job.output.table, table)


run(snakemake, main)
