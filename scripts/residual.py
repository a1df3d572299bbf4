"""Figure: residual."""

from headstability.files import read_csv
from headstability.plots.streams import residual
from headstability.plots.style import save_figure, set_style
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure."""
    set_style()
    figure = residual(read_csv(job.input.table), job.spec)
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
