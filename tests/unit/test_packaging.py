"""Environments, container, hooks and continuous integration: one home for each version."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_quality import LOCK, ROOT, pins

HOOKS = {
    hook["id"]: hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repo["hooks"]
}
CONTAINER = (ROOT / "Containerfile").read_text()
ACTIONS = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
CONDA = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / "envs").glob("*.yaml")}


def test_one_python_everywhere():
    found = {
        "ruff": re.search(r'target-version = "py3(\d+)"', (ROOT / "pyproject.toml").read_text())[1],
        "make": re.search(r"version_info < \(3, (\d+)\)", (ROOT / "Makefile").read_text())[1],
        "README": re.search(r"Python 3\.(\d+) or newer", (ROOT / "README.md").read_text())[1],
        "container": re.search(r"^FROM python:3\.(\d+)-", CONTAINER, re.MULTILINE)[1],
        "actions": re.match(r"python:3\.(\d+)-", ACTIONS["jobs"]["test"]["container"])[1],
    }
    for name, content in CONDA.items():
        (python,) = [item for item in content["dependencies"] if str(item).startswith("python ")]
        found[name] = re.fullmatch(r"python =3\.(\d+)", python)[1]
    assert len(found) >= 9
    assert len(set(found.values())) == 1, found


def test_whole_environments_install_the_lock_itself():
    """Those that hold versions of their own are compared with the lock in test_quality."""
    for name in ("environment.yaml", "slurm.yaml"):
        (listed,) = [i["pip"] for i in CONDA[name]["dependencies"] if isinstance(i, dict)]
        assert listed[0] == "-r lock.txt"
        for item in listed:
            assert (ROOT / "envs" / item.removeprefix("-r ")).is_file()
    copied = re.findall(r"^COPY (\S+)", CONTAINER, re.MULTILINE)
    assert [ROOT / name for name in copied] == [LOCK]
    assert re.search(r"pip install .*-r /tmp/lock\.txt", CONTAINER)
    assert not re.search(r"==", CONTAINER)


def test_the_container_sees_what_it_copies():
    for name in (".containerignore", ".dockerignore"):
        lines = (ROOT / name).read_text().splitlines()
        assert lines[-2:] == ["*", "!envs/lock.txt"]


def test_continuous_integration_runs_the_one_command():
    steps = [step.get("run") for step in ACTIONS["jobs"]["test"]["steps"]]
    assert steps[-1] == ".ci/run"
    script = ROOT / steps[-1]
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("make test")


def test_the_catalog_entry_is_true():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    assert usage["software-stack-deployment"]["conda"] == ("conda:" in rules)
    assert usage["software-stack-deployment"]["apptainer"] == ("container:" in rules)
    assert usage["report"] == ("report(" in rules)


# --- hooks --------------------------------------------------------------------------------


def hook(name, folder):
    """Run a hook as pre-commit does, without a .venv: an active environment is enough."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        shlex.split(HOOKS[name]["entry"]),
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_hooks_bring_no_versions_of_their_own():
    lock = pins(LOCK.read_text().splitlines())
    assert list(HOOKS) == ["ruff-check", "ruff-format", "snakefmt", "snakemake-lint"]
    for entry in HOOKS.values():
        assert entry["language"] == "system"
        assert "additional_dependencies" not in entry
        assert re.search(r'\$PATH" (\w+)', entry["entry"])[1] in lock


def test_hooks_are_what_the_tests_run():
    """That they pass here is in test_quality."""
    tests = (ROOT / "tests/unit/test_quality.py").read_text()
    for name, words in {
        "ruff-check": ["ruff", "check", "--no-cache"],
        "ruff-format": ["ruff", "format", "--check", "--no-cache"],
        "snakefmt": ["snakefmt", "--check", "Snakefile", "rules"],
        "snakemake-lint": ["snakemake", "--lint"],
    }.items():
        assert shlex.split(HOOKS[name]["entry"])[2].split()[1:] == words
        assert f'"{words[0]}", ' in tests


@pytest.mark.parametrize("name", ["ruff-check", "ruff-format", "snakefmt"])
def test_hooks_find_what_is_wrong(name, tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "wrong.py").write_text("import os\nx = [1,2]\n")
    (tmp_path / "Snakefile").write_text('rule a:\n  output: "b"\n')
    assert hook(name, tmp_path).returncode != 0
    (tmp_path / "wrong.py").unlink()
    (tmp_path / "Snakefile").write_text('rule a:\n    output:\n        "b",\n')
    done = hook(name, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
