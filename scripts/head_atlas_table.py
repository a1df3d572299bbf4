"""Table of patterns of an anchor's heads beside their best matches."""

from functools import partial

from headstability.atlas import atlas_table, choose_heads, token_labels
from headstability.files import read_csv, read_json, write_csv
from headstability.refit_caches import open_refits
from headstability.tokenization import load_own_tokenizer
from job import Job, run


def main(job: Job) -> None:
    """Write one condition's table of tables/head_atlas/."""
    spec = job.spec
    opened = open_refits(spec["refits"], job.input.caches, ["pattern"])
    caches = dict(zip(spec["refits"], opened, strict=True))
    heads = read_csv(job.input.heads)
    heads = choose_heads(heads[heads["anchor"] == spec["anchor"]], spec["heads"])
    decode = partial(
        load_own_tokenizer(job.input.tokenizer, spec["bos"]).decode, skip_special_tokens=False
    )
    labels = token_labels(read_json(job.input.prompts), spec["prompt"], decode)
    table = atlas_table(
        caches, heads, read_csv(job.input.matches), labels, spec["prompt"], spec["tokens"]
    )
    write_csv(job.output.table, table)


run(snakemake, main)
