"""Pages lead somewhere: their links, study files, and targets of make and Snakemake."""

import re
import shlex

import pytest
import yaml
from test_quality import ROOT

from headstability.registry.rows import FIGURES
from headstability.study.study import Study

PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "results/README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files(name):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", TEXTS[name])
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    folder = (ROOT / name).parent
    assert [link for link in local if not (folder / link).exists()] == []


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            text = page.read_text()
            links = re.findall(r"\]\(([^)#\s]+\.md)\)", text)
            waiting += [page.parent / link for link in links if "://" not in link]
    named = {path for path in PAGES if f"docs/{path.name}" in TEXTS["README.md"]}
    unreachable = set(PAGES) - seen - named - {ROOT / "results/README.md"}
    assert unreachable == set()


def studies():
    for name, text in TEXTS.items():
        if name == "docs/add-a-measure.md":  # test_added_measure follows it
            continue
        for block in blocks(text, "yaml"):
            yield pytest.param(yaml.safe_load(block), id=name)


@pytest.mark.parametrize("content", list(studies()))
def test_yaml_on_pages_is_a_study_or_part_of_one(content):
    least = {"study": "a", "architectures": {"a": {"layers": 1, "heads": 2, "d_model": 8}}}
    study = Study({**least, "training": {"steps": 10}, **content})
    assert study.refits


def inline():
    """Parts of a config that pages show in running text, such as `refits: 10`."""
    text = TEXTS["docs/change-the-study.md"]
    rows = re.findall(r"^\| [^|]+ \| (`.*) \|$", text, re.MULTILINE)
    parts = [part for row in rows for part in re.findall(r"`(\w+: [^`]*)`", row)]
    return [part for part in parts if "..." not in part]


@pytest.mark.parametrize("part", inline())
def test_edits_in_the_table_are_accepted(part):
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    edit = yaml.safe_load(part)
    for key, value in edit.items():
        if key in ("claims", "training", "figures", "caches", "perplexity"):
            study[key] = {**(study.get(key) or {}), **value}
        else:
            study[key] = value
    if edit.get("stability") == {"prompts": "mine"}:
        study["prompts"] = {"mine": {"type": "held_out"}}
        study["ablation"] = {"text": "mine"}
    if "prompts" in edit:
        study["stability"], study["ablation"] = {"prompts": "mine"}, {"text": "mine"}
    if "time_course" in edit:
        study["training"]["checkpoint_steps"] = edit["time_course"]["steps"]
    assert Study(study).config


def commands(program):
    for name, text in TEXTS.items():
        for block in blocks(text, ""):
            for line in block.splitlines():
                if line.startswith(f"{program} ") or line == program:
                    yield pytest.param(shlex.split(line, comments=True)[1:], id=f"{name}: {line}")


@pytest.mark.parametrize("words", list(commands("make")))
def test_targets_of_make_exist(words):
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    variables = set(re.findall(r"^(\w+) \?=", makefile, re.MULTILINE)) | {"DEVICE"}
    for word in words:
        name, _, value = word.partition("=")
        assert name in (variables if value else targets), word


@pytest.mark.parametrize("words", list(commands("snakemake")))
def test_targets_of_snakemake_exist(words):
    rules = "".join(path.read_text() for path in [ROOT / "Snakefile", *ROOT.glob("rules/*.smk")])
    known = {*re.findall(r"^ *rule (\w+):", rules, re.MULTILINE), *FIGURES, "spread"}
    targets = []
    for word in words:
        if word.startswith("-"):
            break
        targets.append(word)
    for target in targets:
        assert target in known or target.startswith("results/default/"), target
    if "--configfile" in words:
        assert (ROOT / words[words.index("--configfile") + 1]).is_file()


@pytest.mark.parametrize("name", ["methods", "experiments", "statistics"])
def test_modules_that_pages_of_formulas_name_exist(name):
    modules = {str(path) for path in (ROOT / "scripts").rglob("*.py")}
    named = re.findall(r"`([\w/]+\.py)`", TEXTS[f"docs/{name}.md"])
    assert named
    assert [one for one in named if not any(path.endswith(f"/{one}") for path in modules)] == []
