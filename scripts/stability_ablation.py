"""Figure: stability_ablation."""

from headstability.plotting import save_figure, set_style, stability_ablation
from headstability.tables import read_table
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure."""
    set_style()
    figure = stability_ablation(read_table(job.input.table), job.spec)
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
