"""Settings of a cluster, and what Slurm's answers mean."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml
import yte

from headstability.errors import UserError
from headstability.workflow import slurm
from headstability.workflow.slurm import (
    Site,
    check_site,
    load_site,
    longest_runtime,
    minutes,
    orphans,
    profile_site,
)

ROOT = Path(__file__).resolve().parents[2]
NAMES = [slurm.variable(name) for name in Site.__dataclass_fields__]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A function that puts commands of Slurm on the path, each with what it says and returns."""

    def commands(**answers):
        for name, (code, text) in answers.items():
            program = tmp_path / name
            program.write_text(
                f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n'
                f"cat <<'END'\n{text}\nEND\nexit {code}\n"
            )
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path / "calls"

    return commands


# --- settings -----------------------------------------------------------------------------


def test_the_file_explains_every_setting_and_sets_none():
    text = (ROOT / slurm.SETTINGS).read_text()
    assert list(yaml.safe_load(text)) == list(Site.__dataclass_fields__)
    assert [name for name in NAMES if name not in text] == []
    assert load_site(ROOT / slurm.SETTINGS, {}) == Site()


def test_the_environment_takes_precedence(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("account: physics\npartition: cpu\nmax_runtime: 60\ngpu_partition: gpu\n")
    site = load_site(path, {"HEADSTABILITY_PARTITION": "long", "HEADSTABILITY_ACCOUNT": ""})
    assert site == Site("physics", "long", "gpu", None, 60, None)
    assert load_site(tmp_path / "none.yaml", {}) == Site()


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("acount: a", {}, "unknown key 'acount'; its keys are account, partition"),
        ("[a]", {}, "not a mapping"),
        ("a: [", {}, "is not YAML"),
        ("account: [a]", {}, "account is \"['a']\": give one word"),
        ("account: a b", {}, "account is 'a b': give one word"),
        ("max_runtime: 1-00:00", {}, "give a whole number of minutes, such as 1440"),
        ("", {"HEADSTABILITY_MAX_RUNTIME": "0"}, "HEADSTABILITY_MAX_RUNTIME is '0'"),
        ("gpu_type: a100", {}, "gpu_type is set and gpu_partition is not"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, environ, message):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_site(path, environ)
    assert message in str(caught.value)


# --- the profile --------------------------------------------------------------------------


def profile(monkeypatch, **settings):
    """The shipped profile as Snakemake reads it, with settings of the site."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(slurm, "PLUGIN", "yaml")  # any module there is
    for name, value in settings.items():
        monkeypatch.setenv(slurm.variable(name), value)
    return yte.process_yaml((ROOT / "profiles/slurm/config.yaml").read_text(), require_use_yte=True)


def rules_on_gpu():
    """What rules/cluster.smk gives the time and memory of a GPU."""
    (listed,) = re.findall(r"^ON_GPU = (.*)$", (ROOT / "rules/cluster.smk").read_text(), re.M)
    return ast.literal_eval(listed)


def test_both_profiles_rebuild_for_the_same_reasons(monkeypatch):
    default = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    shipped = profile(monkeypatch)
    same = ("rerun-triggers", "rerun-incomplete", "max-checksum-file-size", "keep-going")
    assert {key: shipped[key] for key in same} == {key: default[key] for key in same}
    assert set(default) - set(shipped) == {"cores"}


def test_settings_reach_the_jobs(monkeypatch):
    shipped = profile(monkeypatch)
    assert shipped["default-resources"].keys() == {"mem_mb", "runtime"}
    assert shipped["set-resources"]["train"] == {"slurm_extra": "'--signal=USR1@120'"}
    shipped = profile(
        monkeypatch, account="p-1", partition="long", gpu_partition="gpu", gpu_type="a100"
    )
    assert shipped["default-resources"]["slurm_account"] == "'p-1'"
    assert shipped["default-resources"]["slurm_partition"] == "'long'"
    assert shipped["set-resources"].keys() == set(rules_on_gpu())
    for rule, given in shipped["set-resources"].items():
        chosen = (given["slurm_partition"], given["gpu"], given["gpu_model"])
        assert chosen == ("'gpu'", 1, "'a100'"), rule


def test_what_is_known_to_break_in_the_plugin_is_not_used(monkeypatch):
    shipped = profile(monkeypatch)
    assert shipped["slurm-status-command"] == "squeue"
    assert shipped["slurm-init-seconds-before-status-checks"] * 3 <= 300
    assert shipped["slurm-pass-command-as-script"] is True
    assert [key for key in shipped if "array" in key or "group" in key] == []


def test_a_missing_plugin_is_said_in_one_message(monkeypatch):
    monkeypatch.setattr(slurm, "PLUGIN", "no_such_plugin")
    with pytest.raises(SystemExit, match=r"pip install -r envs/slurm.txt"):
        profile_site()


def test_a_wrong_setting_ends_snakemake_with_its_message(monkeypatch):
    monkeypatch.setattr(slurm, "PLUGIN", "yaml")
    monkeypatch.setenv("HEADSTABILITY_MAX_RUNTIME", "day")
    with pytest.raises(SystemExit, match="whole number of minutes"):
        profile_site()


# --- answers of the cluster ---------------------------------------------------------------


def refused(cluster, site, said, **more):
    cluster(sbatch=(1, said), **more)
    with pytest.raises(UserError) as caught:
        check_site(site)
    return str(caught.value)


def test_settings_that_slurm_takes(cluster):
    calls = cluster(sbatch=(0, "sbatch: Job 3 to start at ..."))
    check_site(Site("physics", "cpu", "gpu", "a100"))
    first, second = calls.read_text().splitlines()
    assert first == "sbatch --test-only -t 1 -A physics -p cpu --wrap=true"
    assert second == "sbatch --test-only -t 1 -A physics -p gpu --gpus=a100:1 --wrap=true"


def test_a_missing_account(cluster):
    said = (
        "sbatch: error: Batch job submission failed: Invalid account or account/partition "
        "combination specified"
    )
    message = refused(cluster, Site(partition="cpu"), said, sacctmgr=(0, "physics\nbiology"))
    assert "Invalid account" in message
    assert "The account jobs are charged to is not set: set HEADSTABILITY_ACCOUNT" in message
    assert "or account in profiles/slurm/site.yaml. There are: biology, physics" in message


def test_a_missing_partition(cluster):
    said = "allocation failure: No partition specified or system default partition"
    message = refused(cluster, Site(), said, sinfo=(0, "long\nshort\nlong"))
    assert "The partition of jobs that need no GPU is not set" in message
    assert message.endswith("There are: long, short")


def test_a_wrong_gpu_partition_and_type(cluster, tmp_path):
    cluster(sinfo=(0, "gpu (gpu:a100:4)"))
    program = tmp_path / "sbatch"
    for said, setting in (
        ("allocation failure: Invalid partition name specified", "HEADSTABILITY_GPU_PARTITION"),
        ("allocation failure: Requested node configuration is not available", "_GPU_TYPE"),
    ):
        program.write_text(f'#!/bin/sh\ncase "$*" in *--gpus*) echo "{said}"; exit 1;; esac\n')
        program.chmod(0o755)
        with pytest.raises(UserError) as caught:
            check_site(Site(gpu_partition="gpus", gpu_type="h100"))
        assert setting in str(caught.value)
        assert "gpu:a100:4" in str(caught.value)


def test_the_type_of_gpu_is_not_blamed_where_none_was_asked_for(cluster):
    said = "allocation failure: Requested node configuration is not available"
    message = refused(cluster, Site(partition="cpu", gpu_partition="gpu", gpu_type="a100"), said)
    assert "type of GPU" not in message


def test_an_answer_nobody_foresaw_is_passed_on(cluster):
    message = refused(cluster, Site(), "sbatch: error: the moon is full")
    assert "(sbatch: error: the moon is full)" in message
    assert "profiles/slurm/site.yaml" in message


def test_no_slurm_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no sbatch here: run this on a login node"):
        check_site(Site())


def test_the_longest_runtime(cluster):
    cluster(sinfo=(0, "short|1:00:00\nlong*|2-00:00:00"))
    assert longest_runtime(Site(), None) == 48 * 60
    assert longest_runtime(Site(max_runtime=90), None) == 90
    cluster(sinfo=(0, "long|2-12:30:00"))
    assert longest_runtime(Site(), "long") == 60 * 60 + 30
    cluster(sinfo=(0, "long*|infinite"))
    assert longest_runtime(Site(), None) is None
    cluster(sinfo=(1, "slurm_load_partitions: Unable to contact slurm controller"))
    assert longest_runtime(Site(), "long") is None


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("5:00", 5), ("1:00:00", 60), ("1-00:00:00", 1440), ("infinite", None), ("n/a", None)],
)
def test_limits(limit, expected):
    assert minutes(limit) == expected


def test_jobs_of_a_former_run(cluster):
    jobs = ["7|headstability_1|/a", "8|headstability_2|/b|c", "9|other|/a", "nonsense"]
    cluster(squeue=(0, "\n".join(jobs)))
    assert orphans("/a") == ["7"]
    assert orphans("/b|c") == ["8"]
    cluster(squeue=(1, "7|headstability_1|/a"))
    assert orphans("/a") == []


def test_the_plugin_is_pinned_apart():
    pinned = (ROOT / "envs/slurm.txt").read_text()
    assert slurm.PLUGIN.replace("_", "-") + "==" in pinned
    assert slurm.PLUGIN not in sys.modules, "the library must not need it"
