"""Table of the claims, and the page a person reads."""

import pandas as pd

from headstability.claims_report import claims_report
from headstability.files import read_csv, write_csv, write_text
from headstability.tables.claim_conditions import claim_conditions
from headstability.tables.claims import claims_table
from headstability.tables.reading import read_cells, read_conditions
from job import Job, run


def main(job: Job) -> None:
    """Write tables/claims.csv and claims.md."""
    spec = job.spec
    by_cell = {"ablation": job.input.ablations, "perplexity": job.input.perplexity}
    tables = {
        name: read_cells(spec["conditions"], spec["refits"], paths)
        for name, paths in by_cell.items()
    }
    for name in ("pairs", "without_prompts", "matches", "commonness", "residual"):
        tables[name] = read_conditions(spec["conditions"], job.input[name])
    conditions = claim_conditions(tables, spec["architectures"], spec["refits"], spec["method"])
    published = pd.read_csv(job.input.published)
    table = claims_table(conditions, spec["claims"], spec["crossed"], published)
    write_csv(job.output.table, table)
    study = {name: spec[name] for name in ("name", "prompts", "text", "method")}
    study |= {"refits": len(spec["refits"]), "margin": spec["claims"]["perplexity_margin"]}
    write_text(job.output.report, claims_report(table, read_csv(job.input.dead), study))


run(snakemake, main)
