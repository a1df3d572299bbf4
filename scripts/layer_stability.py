"""Figure: layer_stability."""

from headstability.files import read_csv
from headstability.plots.layers import layer_stability
from headstability.plots.style import save_figure, set_style
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure."""
    set_style()
    figure = layer_stability(read_csv(job.input.table), read_csv(job.input.dead), job.spec)
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
