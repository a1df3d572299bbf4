"""Figure: weight_norms."""

from headstability.files import read_csv
from headstability.plots.streams import weight_norms
from headstability.plots.style import save_figure, set_style
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure."""
    set_style()
    figure = weight_norms(read_csv(job.input.table), job.spec)
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
