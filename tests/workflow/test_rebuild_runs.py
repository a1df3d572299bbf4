"""Each output is rebuilt only when its inputs change: what really runs, moves, is lost or copied.

Every test works on a copy of the finished smoke study, so that nothing has to be undone.
"""

import os
import re
import shutil
from contextlib import ExitStack

import pytest
from driver import SMOKE, contents, jobs, snakemake, start, wait_for, write_study
from plan import ANCHORS, ATLAS, CORPUS, MAP, OVER_ALL, WITHOUT_ZERO, edited, expect, expect_only

STUDY = "studies/smoke.yaml"
RESULTS = "results/smoke"


@pytest.fixture
def finished(smoke, tmp_path):
    """A copy of the finished smoke study, as old as the original."""
    folder = tmp_path / "repository"
    shutil.copytree(smoke, folder, symlinks=True, copy_function=shutil.copy2)
    yield folder
    shutil.rmtree(tmp_path)


def run(folder, *args):
    return snakemake(folder, "--cores", "2", *args, *SMOKE)


def newest_first(folder):
    """Give every file a time of its own, in the opposite order: inputs newer than outputs."""
    files = [path for path in (folder / RESULTS).rglob("*") if path.is_file()]
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    now = max(path.stat().st_mtime_ns for path in files) + 10**9
    for number, path in enumerate(files):
        os.utime(path, ns=(now, now + number * 10**7))
    inputs, outputs = (folder / RESULTS / name for name in ("corpus/train.bin", "tables/heads.csv"))
    assert inputs.stat().st_mtime_ns > outputs.stat().st_mtime_ns


# --- times and places ---------------------------------------------------------------------


def test_touched_sources(finished):
    places = ["Snakefile", "rules/*", "scripts/**/*.py", "envs/*", "profiles/**/*", "**/*.yaml"]
    for path in {path for place in places for path in finished.glob(place)}:
        os.utime(path)
    expect(finished)


def test_touched_results(finished):
    newest_first(finished)
    expect(finished)


def test_moved(finished, tmp_path):
    expect(shutil.move(finished, tmp_path / "else where"))


def test_copied_without_times(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, copy_function=shutil.copyfile)
    newest_first(copy)
    expect(copy)
    with edited(copy / STUDY, "1.0e-2", "2.0e-2"):
        expect(copy, "Training")


def test_lost_records(finished):
    """Without .snakemake later changes go unseen; declaring everything current brings them back."""
    shutil.rmtree(finished / ".snakemake")
    before = contents(finished / RESULTS)
    run(finished, "--touch", "--forceall")
    expect(finished)
    with edited(finished / STUDY, "1.0e-2", "2.0e-2"):
        expect(finished, "Training")
    with edited(
        finished / "scripts/headstability/plots/style.py", '"font.size": 9', '"font.size": 8'
    ):
        expect(finished, "Figure")
    assert contents(finished / RESULTS) == before


# --- edits and real runs ------------------------------------------------------------------


def test_an_edit_and_its_revert(finished):
    before = contents(finished / RESULTS)
    model = finished / "scripts/headstability/models/transformer.py"
    with edited(finished / STUDY, "1.0e-2", "2.0e-2"), edited(model, "1e-5", "1e-6"):
        expect(finished, "Training")
    assert "Nothing to be done" in run(finished)
    with edited(finished / STUDY, "study: smoke", "study: smoke\nfigures: {dpi: 100}"):
        run(finished, "layer_stability")
        assert "Figure: layer stability" not in jobs(finished, *SMOKE)
        assert contents(finished / RESULTS) != before
    expect(finished, "Figure: layer stability")
    run(finished)
    expect(finished)
    assert contents(finished / RESULTS) == before


def test_a_deleted_cache(finished):
    """It is made again when asked for, or when something that reads it runs."""
    name = f"{RESULTS}/cells/two/wd0/seed2/caches/step30/passages.zarr.zip"
    caching = "Caching two, wd 0, seed2, step 30, on passages"
    before = contents(finished / RESULTS)
    (finished / name).unlink()
    expect(finished)
    expect_only(finished, [caching], name)
    with edited(finished / "scripts/headstability/measures/similarity.py", "2**16", "2**15"):
        parts = ("Shared and specific parts", "Stability by prompt length", "Residual streams")
        expect(finished, caching, "Comparing", *parts)
    run(finished, name)
    expect(finished)
    assert contents(finished / RESULTS) == before


def drawings(planned):
    """Patterns of the planned jobs that draw figures: most of the time, and of no interest here."""
    return [f"{re.escape(job)}$" for job in planned if job.startswith("Figure")]


def test_a_study_that_shrinks_and_grows(finished, smoke):
    """What is no longer asked for stays, and is not made again when it is asked for again."""
    before = contents(smoke / RESULTS)
    two = "  two: {layers: 2, heads: 4, d_model: 16, mlp: false}\n"
    with ExitStack() as stack:
        stack.enter_context(edited(finished / STUDY, two, ""))
        stack.enter_context(edited(finished / STUDY, "[0, 0.1]", "[0.1]"))
        small = expect(finished, *WITHOUT_ZERO, MAP)
        with edited(finished / STUDY, "refits: 2", "refits: [1, 2, 3]"):
            grown = expect(finished, "Training .*, seed3", *WITHOUT_ZERO)
            assert len([job for job in grown if job.startswith("Training")]) == 1
            run(finished, "tables")
            expect(finished, *drawings(grown))
            with edited(finished / STUDY, "[1, 2, 3]", "[3, 1, 2]"):
                expect(finished, *drawings(grown), ANCHORS, ATLAS)
        expect(finished, *drawings(small), "Checking", ATLAS, "Roles of", "Table of perplexity")
    again = [rf"{what} .* one, wd 0\.1" for what in ("Checking", "Roles of", ATLAS, ANCHORS)]
    todo = expect(finished, *again, OVER_ALL, rf"{MAP}, wd 0\.1")
    run(finished, "tables")
    left = jobs(finished, *SMOKE)
    assert {job for job in left if not job.startswith("Figure")} == set(), "tables are as they were"
    assert set(left) <= set(todo)
    after = contents(finished / RESULTS)
    assert {name: after[name] for name in before} == before
    surplus = after.keys() - before.keys()
    # The added seed, and the untrained reference of what was the only weight decay for a while.
    reference = [name for name in surplus if "one/wd0.1/" in name and "/step0/" in name]
    assert reference
    assert surplus - set(reference)
    assert all("seed3" in name for name in surplus - set(reference))


def test_code_changed_during_a_run(finished):
    """The guard: what changed code would make is never recorded as made by the former code."""
    results = finished / RESULTS
    before = contents(results)
    for name in ("cells/one/wd0", "conditions/one/wd0", "logs/train/one/wd0"):
        shutil.rmtree(results / name)
    for name in ("heads", "layer_stability", "head_map/one/wd0", "pairwise/one/wd0"):
        (results / f"tables/{name}.csv").unlink()
    todo = expect(finished, "Training one, wd 0,")
    logs = results / "logs/train/one/wd0"
    process = start(finished, "--cores", "1", *SMOKE)
    # The first training has passed the guard once it reports progress; the next one has not begun.
    wait_for(lambda: any(" % [" in log.read_text() for log in logs.glob("*.log")), process)
    model = finished / "scripts/headstability/models/transformer.py"
    with edited(model, "LAYER_NORM_EPS = 1e-5", "LAYER_NORM_EPS = 1e-1"):
        assert process.wait(timeout=180) == 1
    said = (finished / "run.log").read_text()
    assert "changed after Snakemake" in said
    assert "Traceback" not in said
    trained = [path.parent.name for path in results.glob("cells/one/wd0/*/provenance.json")]
    assert len(trained) == 1
    todo.remove(f"Training one, wd 0, {trained[0]}")
    expect_only(finished, todo)
    run(finished, "tables")  # what figures show is what it was: none is drawn again
    expect(finished)
    assert contents(results) == before


# --- files of the user's ------------------------------------------------------------------


def rewrite_under_the_old_time(path, text):
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def change_and_see(folder, path, target, job, study):
    """Touch, change and revert a file of the user's on which one finished target rests."""
    text = path.read_text()
    expect_only(folder, [], target, study=study)
    os.utime(path)
    expect_only(folder, [], target, study=study)
    path.write_text(text.swapcase())  # as long as before
    expect_only(folder, [job], target, study=study)
    path.write_text(text)
    expect_only(folder, [], target, study=study)
    rewrite_under_the_old_time(path, text + "more\n")
    expect_only(folder, [job], target, study=study)


def test_a_text_of_the_users(finished):
    text = finished / "my text.txt"
    text.write_text("".join(f"Paragraph {number}.\n\n" for number in range(20)))
    corpus = {"type": "text", "paths": [text.name], "documents": "paragraph"}
    study = write_study(finished, "tiny", corpus=corpus)
    target = "results/tiny/corpus/documents.jsonl"
    snakemake(finished, target, "--cores", "1", *study)
    change_and_see(finished, text, target, CORPUS, study)


def test_prompts_of_the_users(finished):
    prompts = finished / "my prompts.txt"
    prompts.write_text("The state of the union\nMy fellow citizens\n")
    passages = "passages: {type: held_out, count: 6, tokens: 20}"
    mine = f"{passages}\n  mine: {{type: file, path: {prompts.name}}}"
    target = f"{RESULTS}/corpus/prompts/mine.json"
    with edited(finished / STUDY, passages, mine):
        run(finished, target)
        expect(finished)
        change_and_see(finished, prompts, target, "Making the prompt set mine", SMOKE)
