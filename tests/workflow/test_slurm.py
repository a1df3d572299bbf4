"""Studies on a real one-node Slurm: through the profile, and as a pilot inside one job.

What waits is started together at the beginning and looked at in turn: most of the time is spent
waiting for the cluster.
"""

import re
import shutil
import signal

import psutil
import pytest
from cluster import ended, queue, run, slurm  # noqa: F401
from driver import (
    ROOT,
    SMOKE,
    TINY,
    contents,
    environment,
    snakemake,
    start,
    wait_for,
)

CLUSTER = ("--workflow-profile", "profiles/test")
LONG_WAIT = 200  # seconds; the machine may be busy
CELLS = "results/tiny/cells/one/wd0.1"
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
    (folder / "logs").mkdir(exist_ok=True)
    script = folder / "profiles/slurm/pilot.sh"
    done = run(
        *("env", "-C", str(folder), f"PATH={environment()['PATH']}", "sbatch", "--parsable"),
        *("--cpus-per-task=2", "--mem=6000", "--dependency=singleton", "-p", "cpu"),
        *args[: args.index("--")],
        *(str(script), *args[args.index("--") + 1 :]),
    )
    return done.strip()


def pilot_log(folder, number):
    path = folder / f"logs/pilot-{number}.log"
    return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def runs(slurm, smoke, tiny, tmp_path_factory):  # noqa: F811
    """Everything this file looks at, started at once.

    `smoke`: begun on this machine, one condition left to the cluster. `hit`: two trainings to be
    hit. `late`: one that meets its time limit. `pilot`: two pilots, the first cut short.
    """
    home = tmp_path_factory.mktemp("runs")
    results = ["results/tiny/cells", "results/tiny/conditions", "results/tiny/figures"]
    results += ["results/tiny/tables"]
    folders = {
        "smoke": copy_of(smoke, home / "smoke", "results/smoke/*/two/wd0.1"),
        "hit": copy_of(tiny, home / "hit", *results, slow=True),
        "late": copy_of(tiny, home / "late", *results, slow=True, **TWO_MINUTES),
        "pilot": copy_of(tiny, home / "pilot", *results, slow=True),
    }
    targets = [f"{CELLS}/seed{seed}/provenance.json" for seed in (1, 2)]
    processes = {
        "hit": start(folders["hit"], *targets, *TINY, *CLUSTER),
        "late": start(folders["late"], targets[0], *TINY, *CLUSTER),
    }
    cut = ("--time=2", "--signal=B:USR1@60", "--", *targets, *TINY)
    pilots = [submit(folders["pilot"], *cut)]
    pilots += [submit(folders["pilot"], "--time=9", "--", *TINY)]
    processes["smoke"] = start(folders["smoke"], *SMOKE, *CLUSTER)
    yield {"folders": folders, "processes": processes, "pilots": pilots}
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


@pytest.fixture
def expected(tiny):
    return contents(tiny / "results/tiny")


# --- settings of the site -----------------------------------------------------------------


def test_a_wrong_setting_is_named_before_anything_is_submitted(slurm, tiny, tmp_path, monkeypatch):  # noqa: F811
    folder = copy_of(tiny, tmp_path / "repository", "results/tiny/conditions")
    before = {job["id"] for job in queue()}
    monkeypatch.setenv("HEADSTABILITY_PARTITION", "nowhere")
    output = snakemake(folder, *TINY, *CLUSTER, ok=False)
    assert "The partition of jobs that need no GPU is 'nowhere'" in output
    assert "set HEADSTABILITY_PARTITION, or partition in profiles/slurm/site.yaml" in output
    assert "There are: cpu, gpu, short, urgent" in output
    assert "Traceback" not in output
    assert not [job for job in queue() if job["folder"] == str(folder) and job["id"] not in before]


# --- through the profile ------------------------------------------------------------------


def test_training_that_is_hit_is_noticed_retried_and_resumed(runs, expected):
    folder, process = runs["folders"]["hit"], runs["processes"]["hit"]
    for refit in ("seed1", "seed2"):
        wait_for(lambda r=refit: has_saved(folder, r), process, LONG_WAIT)
    first = {refit: number_of(folder, refit) for refit in ("seed1", "seed2")}
    training_process(folder, "seed2").kill()
    run("scancel", first["seed1"])
    for refit in ("seed1", "seed2"):
        wait_for(lambda r=refit: resumed_at(folder, r), process, LONG_WAIT)
    (folder / "slow").unlink()
    assert process.wait(timeout=LONG_WAIT) == 0, said(folder)
    assert ended(first["seed1"])[0] == "CANCELLED"
    assert ended(first["seed2"])[0] == "FAILED"
    assert len(submitted(folder)) == 4
    for refit in ("seed1", "seed2"):
        assert 0 < resumed_at(folder, refit) < 1000
    assert_trained(folder, expected, "seed1", "seed2")


def test_a_job_is_warned_before_its_limit_and_its_retry_goes_on(runs, expected):
    folder, process = runs["folders"]["late"], runs["processes"]["late"]
    wait_for(lambda: "resumed at step" in cell_log(folder, "seed1"), process, LONG_WAIT)
    (folder / "slow").unlink()
    assert process.wait(timeout=LONG_WAIT) == 0, said(folder)
    (first, _) = [number for _, number in submitted(folder)]
    assert ended(first)[0] == "FAILED", "it left of itself, before the limit"
    log = "\n".join(p.read_text() for p in folder.glob(f"logs/slurm/rule_train/*/{first}.log"))
    (left_at,) = re.findall(r"stopped by SIGUSR1 after step (\d+) of 1000", log)
    assert resumed_at(folder, "seed1") == int(left_at) > 0
    assert_trained(folder, expected, "seed1")


def assert_trained(folder, expected, *refits):
    """Cells hold the bytes they have after an undisturbed training on this machine."""
    for refit in refits:
        home = f"cells/one/wd0.1/{refit}/"
        found = contents(folder / "results/tiny")
        wanted = {k: v for k, v in expected.items() if k.startswith(home) and "caches" not in k}
        assert {k: found.get(k) for k in wanted} == wanted


def test_a_study_begun_here_is_finished_there(runs, smoke):
    folder, process = runs["folders"]["smoke"], runs["processes"]["smoke"]
    assert process.wait(timeout=LONG_WAIT) == 0, said(folder)
    assert contents(folder / "results/smoke") == contents(smoke / "results/smoke")
    messages = [message for message, _ in submitted(folder)]
    assert len(messages) == 7, messages  # two cells: training, cache, ablation; one stability
    assert all("two, wd 0.1" in message for message in messages)
    again = snakemake(folder, *SMOKE, *CLUSTER)
    assert "Nothing to be done" in again
    assert "Nothing to be done" in snakemake(folder, "--cores", "1", *SMOKE)


# --- pilots -------------------------------------------------------------------------------


def test_a_pilot_cut_short_is_continued_by_the_next(runs, expected):
    folder, (first, second) = runs["folders"]["pilot"], runs["pilots"]
    wait_for(lambda: "Submit the same line again" in pilot_log(folder, first), timeout=LONG_WAIT)
    (folder / "slow").unlink()
    stopped = r"(seed\d): stopped by SIGTERM after step (\d+)"
    left_at = dict(re.findall(stopped, pilot_log(folder, first)))
    assert left_at.keys() == {"seed1", "seed2"}
    over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
    wait_for(lambda: ended(second)[0] in over, timeout=LONG_WAIT)
    assert ended(second)[0] == "COMPLETED", pilot_log(folder, second)
    resumed = dict(re.findall(r"(seed\d): resumed at step (\d+)", pilot_log(folder, second)))
    assert resumed == left_at
    assert contents(folder / "results/tiny") == expected
    third = submit(folder, "--time=9", "--", *TINY)
    wait_for(lambda: ended(third)[0] in over, timeout=LONG_WAIT)
    assert ended(third)[0] == "COMPLETED", pilot_log(folder, third)
    assert "Nothing to be done" in pilot_log(folder, third)
