"""`snakemake --report`: every figure and table with its caption, in a real browser, offline."""

import base64
import json
import re

import pytest
import yaml
from browser import Page, why_no_browser
from driver import SMOKE, snakemake

from headstability.study.study import Study

# What Snakemake's own page remarks about two libraries that it brings along.
REMARKS = ("cdn.tailwindcss.com should not be used in production", "The input spec uses Vega-Lite")
QUESTIONS = ("From which refits.", "How to read it.", "What would mislead.")


@pytest.fixture(scope="module")
def report(smoke, tmp_path_factory):
    """The report of the smoke study, and what Snakemake said on making it."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    return file, snakemake(smoke, *SMOKE, "--cores", "1", "--report", file)


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    """The report, opened in a browser."""
    if reason := why_no_browser():
        pytest.skip(f"no browser here: {reason}")
    with Page(tmp_path_factory.mktemp("browser")) as opened:
        opened.open(report[0])
        opened.run(HELPERS)
        yield opened
        unknown = [why for why in opened.complaints if not any(r in str(why) for r in REMARKS)]
        assert unknown == []
        elsewhere = [one for one in opened.requests if not one.startswith(("data:", "blob:"))]
        assert elsewhere == [report[0].as_uri()]


# Clicks as a person would make them; what follows is drawn when `settled` resolves.
HELPERS = """
globalThis.settled = () => new Promise((done) => setTimeout(done, 0));
globalThis.links = () => [...document.querySelectorAll("nav ul a")];
globalThis.rows = () => [...document.querySelectorAll("nav tbody tr")];
globalThis.words = (row) => [...row.querySelectorAll("td")].map((cell) => cell.innerText.trim());
globalThis.click = async (element) => { element.click(); await settled(); };
globalThis.home = async () => click(document.querySelector("nav ol a"));
globalThis.go = async (...names) => {
  await home();
  for (const name of names) await click(links().find((link) => link.innerText.trim() === name));
};
globalThis.shown = async () => {
  const image = [...document.querySelectorAll("#app img")].find((one) => !one.closest("nav"));
  await image.decode();
  image.closest(".overflow-auto").scrollTop = 0;
  return [image.naturalWidth, image.naturalHeight, image.getBoundingClientRect().top];
};
"""


def in_page(report, name):
    """What the page knows, as its script has it."""
    text = report[0].read_text(encoding="utf-8")
    script = rf'<script id="{name}">\s*var {name} = (.*?);\s*</script>'
    return json.loads(re.search(script, text, flags=re.DOTALL)[1])


def expected(smoke):
    """Every figure and table of the study, by its path."""
    study = Study(yaml.safe_load((smoke / "studies/smoke.yaml").read_text()))
    drawn = [path for path in study.figure_paths() if path.endswith(".png")]
    paths = [*drawn, *study.table_paths(), study.paths.claims_report]
    return {path: (smoke / path).read_bytes() for path in paths}


def test_the_report_holds_every_figure_and_table_with_its_caption(smoke, report):
    _, said = report
    assert re.findall(r".*(?:ERROR|WARNING|SEVERE)/\d.*|Missing metadata.*", said) == []
    results, files = in_page(report, "results"), expected(smoke)
    assert set(results) == set(files)
    assert len(files) > 50
    for path, result in results.items():
        assert base64.b64decode(result["data_uri"].split("base64,")[1]) == files[path], path
        what = "What is plotted." if path.endswith(".png") else "What is listed."
        for question in (what, *QUESTIONS):
            assert f"<strong>{question}</strong>" in result["caption"], (path, question)


def test_sections_follow_the_study_and_claims_come_first(page):
    names = page.run("links().map((link) => link.innerText.trim())")
    assert names[names.index("About") + 1 :] == [
        "1 Claims",
        "2 Heads",
        "3 Ablation and perplexity",
        "4 Residual stream and weights",
        "5 Questions",
    ]
    assert "2 refits (seeds 1 to 2)" in page.run("document.querySelector('#app .prose').innerText")


def test_every_section_opens_and_shows_what_it_lists(page, report):
    results, seen = in_page(report, "results"), []
    for section, groups in in_page(report, "categories").items():
        for group, paths in groups.items():
            way = [section] if len(groups) == 1 else [section, group]
            opened = f"go(...{json.dumps(way)})"
            listed = page.run(f"{opened}.then(() => rows().map(words))")
            by_label = {results[path]["labels"]["result"]: path for path in paths}
            for number, row in enumerate(listed):
                path = by_label[row[0]]
                link = f"rows()[{number}].querySelectorAll('a')"
                if path.endswith(".png"):
                    *size, top = page.run(f"click({link}[0]).then(shown)")
                    assert min(size) > 200, path
                    assert top >= 0, f"the top of {path} is out of reach"
                else:
                    assert page.run(f"{link}[0].href.startsWith('data:')"), path
                    assert page.run(f"{link}[0].download"), path
                caption = page.run(
                    f"click({link}[1]).then(() => document.querySelector('nav .prose').innerText)"
                )
                assert all(question in caption for question in QUESTIONS), path
                page.run(opened)
                seen.append(path)
    assert sorted(seen) == sorted(results)


def test_the_workflow_and_its_statistics_are_drawn(page):
    for name in ("Workflow", "Statistics"):
        page.run(f"go({json.dumps(name)})")
        drawn = "document.querySelectorAll('#app canvas, #app svg.marks').length"
        for _ in range(100):
            if page.run(f"settled().then(() => {drawn})"):
                break
        assert page.run(drawn), name
