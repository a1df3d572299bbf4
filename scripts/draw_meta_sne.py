"""Figure: the map of heads of one weight decay."""

from headstability.files import read_csv
from headstability.plots.meta_sne import meta_sne
from headstability.plots.style import save_figure, set_style
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure."""
    set_style()
    title = f"weight decay {job.wildcards.weight_decay}"
    figure = meta_sne(read_csv(job.input.table), title, job.spec)
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
