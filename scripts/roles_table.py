"""Tables of roles."""

from headstability.files import write_csv
from headstability.tables.reading import read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/roles.csv and tables/roles_stability.csv."""
    conditions = job.spec["conditions"]
    write_csv(job.output.table, read_conditions(conditions, job.input.heads))
    write_csv(job.output.stability, read_conditions(conditions, job.input.stability))


run(snakemake, main)
