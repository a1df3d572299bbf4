"""A Slurm cluster as its user knows it: settings of the site, and whether Slurm accepts them."""

import getpass
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from ..errors import UserError

SETTINGS = "profiles/slurm/site.yaml"
PLUGIN = "snakemake_executor_plugin_slurm"
# Names of this project's jobs begin with this; the rest is the run they belong to.
JOB_NAMES = "headstability"
SECONDS = 60  # for an answer of the cluster

# What sbatch says when it refuses a job, and the setting behind it: the first that fits.
REFUSALS = (
    (r"partition.*(invalid|name)|invalid partition|no partition", "partition"),
    (r"account", "account"),
    (r"time limit|timelimit", "max_runtime"),
    (r"not permitted|permission|access", "partition"),
    (r"gres|gpu|node configuration", "gpu_type"),
)
# What each of them is, and the format in which sinfo lists what there is for it.
MEANINGS = {
    "account": ("The account jobs are charged to", None),
    "partition": ("The partition of jobs that need no GPU", "%R"),
    "gpu_partition": ("The partition of jobs that use a GPU", "%R (%G)"),
    "gpu_type": ("The type of GPU", "%R: %G"),
    "max_runtime": ("The longest runtime of a job in minutes", "%R: %l"),
}
ACCOUNTS = ("sacctmgr", "-nP", "list", "assoc")


@dataclass(frozen=True)
class Site:
    """Settings of a cluster: keys of profiles/slurm/site.yaml, explained there."""

    account: str | None = None
    partition: str | None = None
    gpu_partition: str | None = None
    gpu_type: str | None = None
    max_runtime: int | None = None
    scratch: str | None = None


def variable(setting: str) -> str:
    """The environment variable that overrides a setting."""
    return f"HEADSTABILITY_{setting.upper()}"


def load_site(path: str | Path = SETTINGS, environ: Mapping[str, str] = os.environ) -> Site:
    """The settings of the environment, else of the file; raises UserError if one is wrong."""
    known = [field.name for field in fields(Site)]
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        content = {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict) or (unknown := [key for key in content if key not in known]):
        shown = f"unknown key {unknown[0]!r}" if isinstance(content, dict) else "not a mapping"
        raise UserError(f"{path}: {shown}; its keys are {', '.join(known)}")
    values = {}
    for name in known:
        value = environ.get(variable(name)) or content.get(name)
        where = variable(name) if environ.get(variable(name)) else f"{path}: {name}"
        values[name] = None if value in (None, "") else _checked(name, value, where)
    if values["gpu_type"] and not values["gpu_partition"]:
        raise UserError(
            f"gpu_type is set and gpu_partition is not: set {variable('gpu_partition')}, or "
            f"gpu_partition in {path}, to the partition that has the GPUs"
        )
    return Site(**values)


def _checked(name: str, value: object, where: str) -> str | int:
    text = str(value).strip()
    if name == "max_runtime":
        if not text.isdigit() or int(text) < 1:
            raise UserError(f"{where} is {text!r}: give a whole number of minutes, such as 1440")
        return int(text)
    if isinstance(value, dict | list | bool) or not re.fullmatch(r"[^\s'\"]+", text):
        raise UserError(f"{where} is {text!r}: give one word")
    return text


def profile_site() -> Site:
    """The site for the profile, which cannot show a message but by ending Snakemake."""
    try:
        if importlib.util.find_spec(PLUGIN) is None:
            raise UserError(
                "Snakemake's Slurm plugin is not installed: run `pip install -r envs/slurm.txt` "
                "in the environment Snakemake runs in"
            )
        return load_site()
    except UserError as error:
        sys.exit(f"\nError: {error}\n")


def check_site(site: Site) -> None:
    """Ask Slurm if it would take a job; if not, raise UserError with the setting to change."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "there is no sbatch here: run this on a login node of a Slurm cluster, or leave "
            "profiles/slurm away to run on this machine"
        )
    command = ["sbatch", "--test-only", "-t", "1", *(["-A", site.account] if site.account else [])]
    jobs = {"partition": ["-p", site.partition] if site.partition else []}
    if site.gpu_partition:
        gpu = f"{site.gpu_type}:1" if site.gpu_type else "1"
        jobs["gpu_partition"] = ["-p", site.gpu_partition, f"--gpus={gpu}"]
    for setting, options in jobs.items():
        code, said = _ask(*command, *options, "--wrap=true")
        if code:
            raise UserError(refusal(said, site, setting))


def refusal(said: str, site: Site, partition: str = "partition") -> str:
    """The message for a refused job; `partition` is the setting that named its partition."""
    found = (name for pattern, name in REFUSALS if re.search(pattern, said, re.IGNORECASE))
    setting = next(found, None)
    if setting == "partition":
        setting = partition
    elif setting == "gpu_type" and partition == "partition":  # no GPU was asked for
        setting = None
    last = (said.strip() or "without a reason").splitlines()[-1]
    message = f"Slurm refuses this study's jobs ({last}). "
    if setting is None:
        return f"{message}Its settings are in {SETTINGS}"
    value = getattr(site, setting)
    stands = "is not set" if value is None else f"is {value!r}"
    meaning, form = MEANINGS[setting]
    user = getpass.getuser()
    command = ["sinfo", "-ho", form] if form else [*ACCOUNTS, f"user={user}", "format=account"]
    code, answer = _ask(*command)
    offered = sorted({line.strip() for line in answer.splitlines() if line.strip()})
    end = f". There are: {', '.join(offered)}" if code == 0 and offered else ""
    return f"{message}{meaning} {stands}: set {variable(setting)}, or {setting} in {SETTINGS}{end}"


def _ask(*command: str) -> tuple[int, str]:
    """Run a command of Slurm's; exit code and output."""
    try:
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, **both, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, f"{command[0]}: {error}"
    return done.returncode, done.stdout


def longest_runtime(site: Site, partition: str | None) -> int | None:
    """The longest runtime of a job in minutes; None if nothing is known to limit it."""
    # Slurm lets a job that asks for more than its partition allows wait for ever.
    if site.max_runtime is not None:
        return site.max_runtime
    code, said = _ask("sinfo", "-h", "-o", "%P|%l", *(["-p", partition] if partition else []))
    for line in said.splitlines() if code == 0 else []:
        name, _, limit = line.partition("|")
        if partition or name.endswith("*"):
            return minutes(limit)
    return None


def minutes(limit: str) -> int | None:
    """Slurm's time limits ([days-]hours:minutes:seconds, minutes:seconds) in whole minutes."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit.strip())
    if match is None:
        return None
    days, hours, whole, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + whole


def orphans(folder: str | Path) -> list[str]:
    """Numbers of jobs that runs in a folder submitted and that Slurm still has."""
    code, said = _ask("squeue", "-h", "-u", getpass.getuser(), "-o", "%i|%j|%Z")
    rows = [line.split("|", 2) for line in said.splitlines() if line.count("|") >= 2]
    mine = [row[0] for row in rows if row[1].startswith(f"{JOB_NAMES}_") and row[2] == str(folder)]
    return mine if code == 0 else []
