"""Tables of the correlation of stability with ablation effects: by layer, and over depth."""

from headstability.files import read_csv, write_csv
from headstability.tables.ablation import stability_ablation_table, stability_ablation_trend_table
from job import Job, run


def main(job: Job) -> None:
    """Write tables/stability_ablation.csv and stability_ablation_trend.csv."""
    table = stability_ablation_table(read_csv(job.input.heads))
    write_csv(job.output.table, table)
    write_csv(job.output.trend, stability_ablation_trend_table(table))


run(snakemake, main)
