"""Damaged files, full disks and mistakes: one message, nothing half-written, and a way on."""

import os
import re
import shutil
import subprocess
import zipfile
from contextlib import contextmanager

import pytest
from driver import (
    SMOKE,
    TINY,
    contents,
    copy_repository,
    snakemake,
    write_study,
    write_text,
    write_tiny,
)
from safetensors import safe_open

RESULTS = "results/smoke"
CELLS = f"{RESULTS}/cells"
CONDITIONS = f"{RESULTS}/conditions"
ABLATION = "step30/ablation/passages"
STABILITY = "step30/stability/passages/heads.csv"
SIMILARITY = "step30/stability/passages/similarity.zarr.zip"


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def flip(path, place=None):
    data = bytearray(path.read_bytes())
    data[place or len(data) * 6 // 10] ^= 0x10
    path.write_bytes(data)


def flip_pattern(path):
    """Flip a byte of the numbers stability is computed from."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("pattern/c/0/0/0")
    flip(path, entry.header_offset + 30 + len(entry.filename) + entry.file_size // 2)


def empty(path):
    path.write_bytes(b"")


def rot(path, how):
    """Damage a file as a disk does: its time stays. Snakemake itself notices nothing."""
    status = path.stat()
    how(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return path.read_bytes()


# What is damaged, how, and the output that is made from it. The first group can be damaged in one
# study: none is made from another of them. Tokens and prompts are below everything.
APART = {
    "cache truncated": (
        f"{CELLS}/one/wd0/seed1/caches/step30/passages.zarr.zip",
        truncate,
        f"{CONDITIONS}/one/wd0/{SIMILARITY}",
    ),
    "cache with a flipped byte": (
        f"{CELLS}/one/wd0.1/seed2/caches/step30/passages.zarr.zip",
        flip_pattern,
        f"{CONDITIONS}/one/wd0.1/{SIMILARITY}",
    ),
    "checkpoint truncated": (
        f"{CELLS}/two/wd0/seed1/checkpoints/step30.safetensors",
        truncate,
        f"{CONDITIONS}/two/wd0/{ABLATION}/seed1.csv",
    ),
    "checkpoint with a flipped byte": (
        f"{CELLS}/two/wd0/seed2/checkpoints/step30.safetensors",
        flip,
        f"{CONDITIONS}/two/wd0/{ABLATION}/seed2.csv",
    ),
    "similarity with a flipped byte": (
        f"{CONDITIONS}/two/wd0/{SIMILARITY}",
        flip,
        f"{CONDITIONS}/two/wd0/{STABILITY}",
    ),
    "table empty": (
        f"{RESULTS}/tables/pairwise/two/wd0.1.csv",
        empty,
        f"{RESULTS}/figures/pairwise/two/wd0.1.png",
    ),
}
BELOW_ALL = {
    "tokens truncated": (
        f"{RESULTS}/corpus/train.bin",
        truncate,
        f"{CELLS}/one/wd0/seed1/training.csv",
    ),
    "prompts truncated": (
        f"{RESULTS}/corpus/prompts/passages.json",
        truncate,
        f"{CELLS}/one/wd0/seed2/caches/step30/passages.zarr.zip",
    ),
}
DAMAGES = APART | BELOW_ALL


def damage(smoke, folder, damages):
    """Damage copies of files and ask for what is made of them, twice; returns what was seen."""
    shutil.copytree(smoke, folder)
    targets = [target for *_, target in damages.values()]
    broken = {}
    for name, how, target in damages.values():
        broken[name] = rot(folder / name, how)
        (folder / target).unlink()
    first = snakemake(folder, *targets, "--cores", "2", *SMOKE, ok=False)
    left = {name: (folder / name).exists() for name in broken}
    made = {target: (folder / target).exists() for target in targets}
    aside = {}
    for name, data in broken.items():
        path = (folder / name).with_name((folder / name).name + ".damaged")
        aside[name] = path.is_file() and path.read_bytes() == data
        path.unlink(missing_ok=True)
    second = snakemake(folder, *targets, "--cores", "2", *SMOKE)
    return {
        "first": first,
        "left": left,
        "made": made,
        "aside": aside,
        "second": second,
        "after": contents(folder / RESULTS),
    }


@pytest.fixture(scope="module")
def seen(smoke, tmp_path_factory):
    """What two runs do about every damage."""
    root = tmp_path_factory.mktemp("damaged")
    runs = [(group, damage(smoke, root / str(len(group)), group)) for group in (APART, BELOW_ALL)]
    return {name: run for group, run in runs for name in group}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named_set_aside_and_made_again(smoke, seen, name):
    path, _, target = DAMAGES[name]
    run = seen[name]
    assert run["first"].count(f"{path} is damaged: ") == 1, run["first"]
    aside = f"It was set aside as {path.split('/')[-1]}.damaged: run the same command again"
    assert aside in run["first"]
    assert "Traceback" not in run["first"] + run["second"]
    assert run["aside"][path], "its bytes are kept beside it"
    assert not run["left"][path]
    assert not run["made"][target], "nothing was made of a damaged file"
    assert run["after"] == contents(smoke / RESULTS)


def test_jobs_that_read_one_damaged_file_at_once(smoke, tmp_path):
    """Both are told in one message what is wrong, whichever of them sets the file aside."""
    folder = tmp_path / "repository"
    shutil.copytree(smoke, folder)
    tokens = f"{RESULTS}/corpus/train.bin"
    truncate(folder / tokens)
    targets = [f"{CELLS}/one/wd0/{refit}/training.csv" for refit in ("seed1", "seed2")]
    output = snakemake(folder, *targets, "--cores", "2", *SMOKE, ok=False)
    assert len(re.findall(rf"Error in train: {tokens} is (?:damaged|missing)", output)) == 2, output
    assert f"{tokens} is damaged" in output
    assert output.count("run the same command again") == 2
    assert "Traceback" not in output
    assert (folder / f"{tokens}.damaged").exists()


# --- full disk ----------------------------------------------------------------------------


def mount(*args):
    done = subprocess.run(["mount", *map(str, args)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")


@contextmanager
def small_disk(folder):
    """Put a study's results on a disk whose size can be changed; gives a function that does so."""
    mount("-t", "tmpfs", "-o", "size=100m", "tmpfs", folder)
    try:
        yield lambda size: mount("-o", f"remount,size={size // 4096 * 4}k", folder)
    finally:
        subprocess.run(["umount", folder], check=True)


def remove(folder, pattern):
    for path in folder.glob(pattern):
        path.unlink()


# Stage: what is missing, what is asked for, and how much of it fits (1: one file of several).
FULL = {
    "training": (f"{CELLS}/two/wd0/seed1/", "checkpoints/*", "checkpoints/step30.safetensors", 2.5),
    "training at once": (
        f"{CELLS}/two/wd0/seed1/",
        "checkpoints/*",
        "checkpoints/step30.safetensors",
        0.5,
    ),
    "caching": (
        f"{CELLS}/two/wd0/seed1/",
        "caches/step30/*",
        "caches/step30/passages.zarr.zip",
        0.5,
    ),
    "figures": (f"{RESULTS}/figures/", "layer_stability.*", "layer_stability.png", 0.5),
}


@pytest.mark.parametrize("stage", FULL)
def test_a_full_disk_leaves_nothing_half_written(smoke, tmp_path, stage):
    home, missing, target, share = FULL[stage]
    expected = contents(smoke / RESULTS)
    folder = tmp_path / "repository"
    shutil.copytree(smoke, folder, ignore=shutil.ignore_patterns("smoke"))
    results = folder / "results"
    shutil.rmtree(results)
    results.mkdir()
    size = (smoke / home / target).stat().st_size
    command = (home + target, "--cores", "1", *SMOKE)
    often = ("--set-resources", "train:save_seconds=0")
    with small_disk(results) as resize:
        shutil.copytree(smoke / RESULTS, folder / RESULTS)
        remove(folder / home, missing)
        if stage.startswith("training"):
            (folder / home / "provenance.json").unlink()
        resize(shutil.disk_usage(results).used + int(size * share))
        output = snakemake(folder, *command, *often, ok=False)
        assert output.count("No space left on device") == 1, output
        assert re.search(rf"cannot write {re.escape(home)}\S+: .*No space left on device", output)
        assert "ree some space" in output
        assert "Traceback" not in output
        found = contents(folder / RESULTS)
        assert not [path for path in found if path.endswith(".part")]
        for path in (folder / home).glob(".resume/*.safetensors"):
            with safe_open(path, framework="np") as handle:
                assert all(handle.get_tensor(key) is not None for key in handle.keys())  # noqa: SIM118
        kept = {path: sha256 for path, sha256 in found.items() if "/.resume/" not in path}
        assert kept.items() <= expected.items()
        assert len(kept) < len(expected)
        resize(100 * 2**20)
        snakemake(folder, *command)
        assert contents(folder / RESULTS) == expected


# --- nowhere to write ---------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path):
    """A copy of the repository in which the study TINY has not run yet."""
    folder = copy_repository(tmp_path / "repository")
    write_tiny(folder, training={"steps": 30, "evaluate_every": 15, "checkpoint_steps": []})
    return folder


def refused(folder, *args):
    """The one message of a run that stops before anything happens."""
    output = snakemake(folder, "--cores", "1", *args, ok=False)
    assert "Traceback" not in output
    assert "Job stats" not in output, "it stops before anything runs"
    assert output.count("Error") == 1
    return output


def test_results_is_a_file(fresh):
    (fresh / "results/tiny").write_text("mine")
    output = refused(fresh, *TINY)
    assert "results/tiny is not a directory: results go there; move it away" in output
    assert (fresh / "results/tiny").read_text() == "mine"


def test_results_are_read_only(fresh):
    results = fresh / "results"
    mount("-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", results)
    try:
        assert "results is not writable: results go there" in refused(fresh, *TINY)
    finally:
        subprocess.run(["umount", results], check=True)


# --- mistakes -----------------------------------------------------------------------------


def test_a_copied_refit_is_found_out(smoke, tmp_path):
    folder = tmp_path / "repository"
    shutil.copytree(smoke, folder)
    shutil.rmtree(folder / CELLS / "one/wd0/seed2")
    shutil.copytree(folder / CELLS / "one/wd0/seed1", folder / CELLS / "one/wd0/seed2")
    target = f"{CONDITIONS}/one/wd0/refits.csv"
    (folder / target).unlink()
    output = snakemake(folder, target, "--cores", "1", *SMOKE, ok=False)
    (line,) = [line for line in output.split("\n") if "are both of the cell one/wd0/seed1" in line]
    assert "cells/one/wd0/seed1/" in line
    assert "cells/one/wd0/seed2/" in line
    assert "Delete the cells that were copied or mislabelled" in output
    assert "Traceback" not in output
    assert not (folder / target).exists()


def test_an_unexpected_exception_is_one_line_and_its_traceback_is_in_the_log(smoke, tmp_path):
    folder = tmp_path / "repository"
    shutil.copytree(smoke, folder)
    module = folder / "scripts/headstability/tables/ablation.py"
    table = "    table = stability.merge("
    assert table in module.read_text()
    module.write_text(module.read_text().replace(table, f"    raise RuntimeError('boom')\n{table}"))
    target = f"{RESULTS}/tables/heads.csv"
    output = snakemake(folder, target, "--cores", "1", *SMOKE, ok=False)
    log = f"{RESULTS}/logs/tables/heads.log"
    assert output.count("unexpected RuntimeError: boom") == 1
    assert f"The traceback is in {log}" in output
    assert "Traceback" not in output
    assert "Traceback (most recent call last)" in (folder / log).read_text()
    assert "boom" in (folder / log).read_text()


def test_a_loss_that_is_not_finite_stops_its_cell_alone(fresh):
    """Decay of 10 times the weights in every step: they grow until they are not finite."""
    training = {"steps": 100, "learning_rate": 0.1, "log_every": 5, "checkpoint_steps": []}
    write_tiny(fresh, training=training, refits=2, weight_decays=[100, 0])
    output = snakemake(fresh, "--cores", "2", *TINY, ok=False)
    for refit in ("seed1", "seed2"):
        message = (
            rf"Error in train: one/wd100/{refit}: the loss is not finite at step \d+ of 100: "
            r"lower training.learning_rate \(0.1\)"
        )
        assert len(re.findall(message, output)) == 1, output
        home = fresh / "results/tiny/cells/one"
        assert not list((home / f"wd100/{refit}").glob("[!.]*"))
        assert (home / f"wd0/{refit}/provenance.json").exists(), "other cells go on"
    assert "Traceback" not in output


# --- text ---------------------------------------------------------------------------------


def test_a_missing_text_file(fresh):
    (fresh / "text.txt").unlink()
    assert "corpus.paths[1]: text.txt is not a file" in refused(fresh, *TINY)


def test_a_text_file_that_is_not_utf_8(fresh):
    data = (fresh / "text.txt").read_bytes()
    (fresh / "text.txt").write_bytes(data[:100] + b"\xe9" + data[100:])
    output = snakemake(fresh, "--cores", "1", *TINY, ok=False)
    message = "corpus.paths[1]: text.txt is not UTF-8 (byte 100 is 0xe9)"
    assert output.count(message) == 1
    assert "iconv" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("paragraphs", "message"),
    [
        (1, "the corpus has 1 document(s); at least 2 are needed"),
        (2, "the training split holds"),
    ],
)
def test_too_little_text(fresh, paragraphs, message):
    corpus = write_text(fresh, "short.txt", paragraphs)
    args = write_study(
        fresh,
        "short",
        corpus=corpus,
        architectures={"one": {"layers": 1, "heads": 2, "d_model": 16}},
        weight_decays=[0],
        training={"batch": 64, "context": 64},
    )
    target = "results/short/cells/one/wd0/seed1/provenance.json"
    output = snakemake(fresh, target, "--cores", "1", *args, ok=False)
    assert output.count(message) == 1, output
    assert "Traceback" not in output
