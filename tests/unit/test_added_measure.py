"""docs/add-a-measure.md, followed to the letter in a copy of the library."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import oracles_adjusted as oracles
import pytest
import torch
from test_adjusted_conditions import PROMPTS, REFITS, SHAPE, paths
from test_conditions import provenance
from test_model import random_model
from test_quality import ROOT, SCRIPTS

from headstability.analysis.activations import activations
from headstability.storage.stores import write_cache

PAGE = (ROOT / "docs/add-a-measure.md").read_text()
FUNCTION, ENTRY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
_, MEASURES = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
CONFIG = f"nulls:\n{MEASURES}"

MEASURED = """
import json, sys
import yaml
from headstability.analysis.adjusted import adjusted_tables
from headstability.analysis.measures import condition_measures
from headstability.analysis.similarities import condition_similarity
from headstability.plots import adjusted as plots
from headstability.study.schema import StudyConfig
from headstability.tables.adjusted import adjusted_table

given = json.load(sys.stdin)
study = {"study": "a", "architectures": {"a": {"layers": 1, "heads": 2, "d_model": 8}}}
study |= {"training": {"steps": 1}, **yaml.safe_load(given["config"])}
config = StudyConfig.model_validate(study)
names = config.nulls.measures
assert names == StudyConfig.model_validate({**study, "nulls": {}}).nulls.measures
refits, paths = given["refits"], given["paths"]
similarity, _ = condition_similarity(refits, paths)
measured, _ = condition_measures(refits, paths, names)
tables = adjusted_tables(refits, similarity, measured, names)
for table in tables.values():
    table.insert(0, "weight_decay", "0")
    table.insert(0, "architecture", "a")
seeds = {name: (number, number) for number, name in enumerate(refits)}
pairs, without, shared = (tables[name] for name in ("pairs", "without_prompts", "shared"))
table = adjusted_table(pairs, without, shared, None, seeds, False)
look = {**config.figures.model_dump(), "weight_decays": ["0"]}
figure = plots.adjusted(table, look)
labels = [text.get_text() for text in figure.legends[0].get_texts()]
drawn = [line.get_label() for axes in figure.axes for line in axes.get_lines()]
kept = table[table["measure"] == "affinity"]
json.dump({"rows": json.loads(kept.to_json(orient="records")), "drawn": drawn, "labels": labels,
           "axes": len(figure.axes)}, sys.stdout)
"""


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("caches"), []
    for number, refit in enumerate(REFITS):
        model = random_model(SHAPE, seed=number, dtype=torch.float32)
        data.append(activations(model, PROMPTS, torch.device("cpu")))
        write_cache(folder / f"{refit}.zarr.zip", data[-1], provenance(refit))
    return folder, data


@pytest.fixture(scope="module")
def measured(caches, tmp_path_factory):
    copy = tmp_path_factory.mktemp("library")
    shutil.copytree(SCRIPTS / "headstability", copy / "headstability")
    with (copy / "headstability/measures/adjusted.py").open("a") as file:
        file.write(f"\n\n{FUNCTION}")
    registry = copy / "headstability/measures/registry.py"
    before, end = registry.read_text().rsplit("}\n", 1)
    assert end == "", "the page says: to the end"
    registry.write_text(f"{before}{ENTRY}}}\n")
    given = {"config": CONFIG, "refits": REFITS, "heads": SHAPE.heads}
    given["paths"] = [str(path) for path in paths(caches[0])]
    command = [sys.executable, "-c", MEASURED]
    done = subprocess.run(
        command, input=json.dumps(given), cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def affinity(one, other, length):
    """Of two packed patterns: over queries, the mean of the sum over keys of sqrt(a b)."""
    total, start = 0.0, 0
    for query in range(length):
        row = range(start, start + query + 1)
        total += sum(np.sqrt(float(one[e]) * float(other[e])) for e in row)
        start += query + 1
    return total / length


def test_the_new_measure_is_right(caches, measured):
    ends = np.cumsum([len(p) * (len(p) + 1) // 2 for p in PROMPTS])
    count, heads = len(REFITS), SHAPE.heads
    for layer, row in enumerate(measured["rows"]):
        patterns = [data["pattern"].values[layer].astype(np.float64) for data in caches[1]]
        s = np.zeros((count, heads, count, heads))
        for r, h, q, g in np.ndindex(s.shape):
            parts = [np.split(patterns[a][b], ends[:-1]) for a, b in ((r, h), (q, g))]
            values = [affinity(a, b, len(p)) for a, b, p in zip(*parts, PROMPTS, strict=True)]
            s[r, h, q, g] = np.mean(values)
        k = oracles.pairwise(oracles.best(s))
        assert row["layer"] == layer + 1
        assert row["value"] == pytest.approx(oracles.mean_of_pairs(k, range(count)), abs=1e-6)
        assert row["low"] < row["value"] < row["high"]
        assert row["se_prompt"] > 0
    assert len(measured["rows"]) == SHAPE.layers


def test_the_new_measure_is_drawn_and_named(measured):
    assert measured["drawn"].count("affinity") == 1
    assert "affinity" in measured["labels"]
    assert measured["axes"] == 6, "a row of panels of its own beside the five"
