"""Figure: claims."""

from headstability.files import read_csv
from headstability.plots.claims import claims
from headstability.plots.style import save_figure, set_style
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure."""
    set_style()
    figure = claims(read_csv(job.input.table))
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
