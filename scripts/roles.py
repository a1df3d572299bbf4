"""Figure: roles."""

from headstability.files import read_csv
from headstability.plots.roles import roles
from headstability.plots.style import save_figure, set_style
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure, and the one of its means."""
    set_style()
    figure = roles(read_csv(job.input.table), read_csv(job.input.stability), job.spec)
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
