"""Driving the real workflow in copies of the repository."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import psutil
import yaml
from planner import Planner

from headstability.storage.files import read_json
from headstability.workflow.graph import Plan
from headstability.workflow.run_file import PLAN

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ("--configfile", "studies/smoke.yaml")
TINY = ("--configfile", "tiny.yaml")
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".snakemake", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis"
)


def copy_repository(target, results=False):
    """Copy the repository as a fresh clone would have it."""
    shutil.copytree(ROOT, target, ignore=_NOT_COPIED, ignore_dangling_symlinks=True)
    if not results:
        for item in (target / "results").iterdir():
            if item.is_dir():
                shutil.rmtree(item)
    return target


def command(*args):
    return [sys.executable, "-m", "snakemake", *map(str, args)]


def environment():
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "PYTEST"))}
    return clean | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def snakemake(folder, *args, ok=True, timeout=1200):
    """Run Snakemake; returns its whole output. `ok`: whether it should succeed."""
    done = subprocess.run(
        command(*args),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (done.returncode == 0) == ok, done.stdout[-6000:]
    return done.stdout


def start(folder, *args):
    """Start Snakemake in a process group of its own; its output goes to run.log."""
    log = (folder / "run.log").open("w")
    return subprocess.Popen(
        command(*args),
        cwd=folder,
        env=environment(),
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill_group(process, number=signal.SIGKILL):
    """Signal a run and all its jobs, as a lost machine or a closed terminal would."""
    os.killpg(process.pid, number)
    return process.wait(timeout=60)


def wait_for(condition, process=None, timeout=180):
    """Wait until `condition()` holds; fails if the process ends before."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert process is None or process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


@cache
def _planner():
    return Planner()


def planned(folder, *args):
    """What Snakemake prints without running anything, and the plan of the study, in one process."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, "plan.json")
        status, output = _planner().run(folder, args, environment() | {PLAN: str(path)})
        assert status == 0, output[-6000:]
        return output, Plan.of_json(read_json(path))


def dry_run(folder, *args):
    """The messages of the jobs that a run would do, and the plan of the study.

    Targets, which only gather files, have no message.
    """
    output, plan = planned(folder, *args, "--dry-run")
    return sorted(re.findall(r"^Job \d+: (.*)$", output, flags=re.MULTILINE)), plan


def jobs(folder, *args):
    """The messages of the jobs that a run would do."""
    return dry_run(folder, *args)[0]


def contents(folder):
    """sha256 of every output by path.

    Logs and benchmarks, which hold times, and the record of the config are no outputs.
    """
    aside = ("logs", "benchmarks", "config.yaml", ".config.yaml.sha256")
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[0] not in aside:
            found[str(relative)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def write_study(folder, name="tiny", **changes):
    """Write a study like smoke.yaml with some keys changed; returns Snakemake's arguments."""
    config = yaml.safe_load((folder / "studies" / "smoke.yaml").read_text())
    config["study"] = name
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict) and key == "training":
            config[key] = config[key] | value
        else:
            config[key] = value
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return "--configfile", path.name


def write_text(folder, name="text.txt", paragraphs=120):
    """Write a small corpus of made-up words: reading and tokenising it takes no time."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 5))) for _ in range(200)]
    text = "\n\n".join(" ".join(draw.choices(words, k=120)) for _ in range(paragraphs))
    (folder / name).write_text(text)
    return {"type": "text", "paths": [name]}


def write_tiny(folder, **changes):
    """Write the study TINY: two refits of one condition that train for some seconds each."""
    plan = {
        "architectures": {"one": {"layers": 1, "heads": 2, "d_model": 16}},
        "weight_decays": [0.1],
        "corpus": write_text(folder),
        "training": {"steps": 1000, "evaluate_every": 500, "checkpoint_steps": [0, 200]},
        "figures": {"include": ["layer_stability", "stability_ablation", "head_map", "pairwise"]},
    }
    assert write_study(folder, "tiny", **(plan | changes)) == TINY


def unlock(folder, *args):
    """What `make` does before it runs Snakemake; returns what it says."""
    done = subprocess.run(
        [sys.executable, "scripts/unlock.py", *args],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def locks(folder):
    """The lock files Snakemake holds on a folder's outputs."""
    return sorted(str(path) for path in (folder / ".snakemake/locks").glob("*"))


def running(process):
    """The jobs of a run at this moment: (script, process). Most have the name of their rule."""
    found = []
    try:
        children = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return found
    for child in children:
        try:
            script = child.cmdline()[1:2]
        except psutil.Error:
            continue
        if script and (match := re.search(r"/tmp[^/]*\.(\w+)\.py$", script[0])):
            found.append((match[1], child))
    return found


def is_gone(job):
    """Whether a job's process has ended (nobody may be there to bury it)."""
    try:
        return not job.is_running() or job.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
