"""Table of measures over training."""

from headstability.files import write_csv
from headstability.tables.intervals import stability_and_excess
from headstability.tables.reading import read_cells, read_conditions
from headstability.tables.time_course import time_course_table
from job import Job, run


def main(job: Job) -> None:
    """Write tables/time_course.csv."""
    spec = job.spec
    steps = [{"step": int(step)} for step in spec["time_steps"]]
    at_steps = [{**condition, **step} for condition in spec["conditions"] for step in steps]
    stability = read_conditions(at_steps, job.input.pairs)
    pairs = stability_and_excess(stability, read_conditions(at_steps, job.input.adjusted))
    ablations = read_cells(at_steps, spec["refits"], job.input.ablations)
    table = time_course_table(pairs, ablations, spec["seeds"], spec["tokens_per_step"])
    write_csv(job.output.table, table)


run(snakemake, main)
