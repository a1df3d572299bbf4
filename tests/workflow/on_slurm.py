"""Studies on the cluster of `cluster.py`: copies to start there, and what became of their jobs."""

import re
import shutil

import psutil
from cluster import ended, run
from driver import ROOT, contents, environment

CLUSTER = ("--workflow-profile", "profiles/test")
LONG_WAIT = 200  # seconds; the machine may be busy
CELLS = "results/tiny/cells/one/wd0.1"
# What a study makes beyond its corpus.
RESULTS = [f"results/tiny/{name}" for name in ("cells", "conditions", "figures", "tables")]
PROFILE = ROOT / "profiles/slurm/config.yaml"
# Waiting is what the shipped profile does most; these numbers alone differ in the tests.
FASTER = {
    "slurm-init-seconds-before-status-checks: 20": "slurm-init-seconds-before-status-checks: 5",
    "latency-wait: 60": "latency-wait: 5",
    "local-cores: 1": "local-cores: 2",
    "  train:\n": "  train:\n    save_seconds: 0\n",
}
# Slurm looks every half minute whom to warn: this one after half a minute to a minute.
TWO_MINUTES = {
    "USR1@120": "USR1@60",
    "  train:\n": "  train:\n    save_seconds: 0\n    runtime: 2 if attempt == 1 else 10\n",
}
# Training that takes a fifth of a second more for every step while the file `slow` is there. Its
# bytes are the same, and job.py is not part of what is hashed.
SLOWLY = """

def _slowly(self, _call=StopSignals.__call__):
    import time

    if Path("slow").exists():
        time.sleep(0.2)
    return _call(self)


StopSignals.__call__ = _slowly
"""


def write_profile(folder, **changes):
    """The shipped profile with other numbers: profiles/test in a copy of the repository."""
    text = PROFILE.read_text()
    for old, new in {**FASTER, **changes}.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "profiles/test").mkdir()
    (folder / "profiles/test/config.yaml").write_text(text)


def copy_of(study, target, *gone, slow=False, **changes):
    """A copy of a finished study, some results of which are gone, ready for the cluster."""
    shutil.copytree(study, target)
    for name in gone:
        assert list(target.glob(name)), name
        for path in target.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_profile(target, **changes)
    if slow:
        with (target / "scripts/job.py").open("a") as script:
            script.write(SLOWLY)
        (target / "slow").touch()
    return target


def said(folder):
    return (folder / "run.log").read_text()


def cell_log(folder, refit):
    path = folder / f"results/tiny/logs/train/one/wd0.1/{refit}.log"
    return path.read_text() if path.exists() else ""


def submitted(folder):
    """Messages of the jobs a run submitted, each with the number Slurm gave it."""
    text = said(folder)
    messages = dict(re.findall(r"^Job (\d+): (.*)$", text, re.MULTILINE))
    pairs = re.findall(r"^Job (\d+) has been submitted with SLURM jobid (\d+)", text, re.MULTILINE)
    return [(messages[job], number) for job, number in pairs]


def number_of(folder, refit):
    found = [number for message, number in submitted(folder) if message.endswith(refit)]
    return found[-1] if found else None


def has_saved(folder, refit):
    """Whether a cell has saved a state after the first steps of training."""
    return (folder / CELLS / refit / ".resume/state.safetensors").exists()


def training_process(folder, refit):
    """The process that trains a cell, wherever Slurm started it."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(folder) and ".train.py" in str(process.info["cmdline"]):
            log = [file.path for file in process.open_files() if file.path.endswith(f"{refit}.log")]
            if log:
                return process
    return None


def resumed_at(folder, refit):
    found = re.findall(rf"{refit}: resumed at step (\d+) of 1000", cell_log(folder, refit))
    return int(found[0]) if found else None


def submit(folder, *args):
    """Submit a pilot; its number."""
    script = folder / "profiles/slurm/pilot.sh"
    done = run(
        *("env", "-C", str(folder), f"PATH={environment()['PATH']}", "sbatch", "--parsable"),
        *("--cpus-per-task=2", "--mem=6000", "--dependency=singleton", "-p", "cpu"),
        *args[: args.index("--")],
        *(str(script), *args[args.index("--") + 1 :]),
    )
    return done.strip()


def pilot_log(folder, number):
    path = folder / f"results/pilot-{number}.log"
    return path.read_text() if path.exists() else ""


def over(number):
    """Whether a job has ended, well or not."""
    return ended(number)[0] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")


def assert_trained(folder, expected, *refits):
    """Cells hold the bytes they have after an undisturbed training on this machine."""
    for refit in refits:
        home = f"cells/one/wd0.1/{refit}/"
        found = contents(folder / "results/tiny")
        wanted = {k: v for k, v in expected.items() if k.startswith(home) and "caches" not in k}
        assert {k: found.get(k) for k in wanted} == wanted
