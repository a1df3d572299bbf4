"""Figure: head_atlas of one condition."""

from headstability.files import read_csv
from headstability.plots.atlas import head_atlas
from headstability.plots.style import save_figure, set_style
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure."""
    set_style()
    title = f"{job.wildcards.architecture}, weight decay {job.wildcards.weight_decay}"
    figure = head_atlas(read_csv(job.input.table), title, job.spec)
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
