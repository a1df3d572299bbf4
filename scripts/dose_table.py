"""Table of the dose response to weight decay."""

from headstability.files import write_csv
from headstability.tables.intervals import stability_and_excess
from headstability.tables.questions import dose_table
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/dose.csv."""
    spec = job.spec
    stability = read_conditions(spec["conditions"], job.input.pairs)
    adjusted = read_conditions(spec["conditions"], job.input.adjusted)
    pairs = stability_and_excess(stability, adjusted)
    refits = read_conditions(spec["conditions"], job.input.refits)
    rate_and_steps = spec["learning_rate"], spec["steps"]
    write_csv(job.output.table, dose_table(pairs, refits, spec["seeds"], rate_and_steps))


run(snakemake, main)
