"""The study files that ship: valid, and of the size they say."""

from pathlib import Path

import pytest
import yaml
from plans import plan_of_config

from headstability.study.study import Study

STUDIES = Path(__file__).resolve().parents[2] / "studies"
# Conditions and cells.
SIZES = {
    "smoke": (4, 8),
    "laptop": (12, 60),
    "paper": (24, 1200),
    "paper-gpt2": (2, 10),
    "released": (2, 100),
    "pythia": (4, 36),
    "gpt2-crfm": (1, 5),
}


def read(name):
    return yaml.safe_load((STUDIES / f"{name}.yaml").read_text())


def study(name):
    return Study(read(name))


def test_every_study_is_listed():
    assert {path.stem for path in STUDIES.glob("*.yaml")} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    loaded = study(name)
    assert loaded.name == name
    assert (len(loaded.conditions()), len(loaded.cells())) == SIZES[name]


def test_the_paper_has_26_conditions_and_1210_cells():
    both = [study("paper"), study("paper-gpt2")]
    assert sum(len(one.conditions()) for one in both) == 26
    assert sum(len(one.cells()) for one in both) == 1210
    shapes = {tuple(one.model_dump().values()) for one in both[0].config.architectures.values()}
    assert len(shapes) == 12
    decay = both[0].config.training.learning_rate * 0.1 * both[0].steps
    assert decay == pytest.approx(3.9, abs=0.05)  # docs/methods.md, "Scale"


@pytest.mark.parametrize("name", ["paper", "released"])
def test_a_cell_keeps_at_most_12_files(name):
    counts = {}
    for path in plan_of_config(read(name)).expected:
        if "/cells/" in path:
            cell = "/".join(path.split("/")[:6])
            counts[cell] = counts.get(cell, 0) + 1
    assert len(counts) == SIZES[name][1]
    assert max(counts.values()) <= 12


def test_names_of_released_weights():
    """As the release spells them."""
    cell = {"architecture": "l8_h8", "weight_decay": "0.1", "refit": "seed50"}
    (place,) = study("released").places(cell).values()
    assert place.path == "l8_h8_wd/causal_attn_l8_h8_seed50_epoch1_c4_gelu/final.pt"
    assert place.revision == "a1148a78942455dea94e971632a8b48159c64e86"
    (place,) = study("released").places(cell | {"weight_decay": "0", "refit": "seed1"}).values()
    assert place.path == "l8_h8/causal_attn_l8_h8_seed1_epoch1_c4_gelu/final.pt"


def test_names_of_pythias_and_gpt2s():
    cell = {"architecture": "pythia-70m", "weight_decay": "0.1", "refit": "seed9"}
    (place,) = study("pythia").places(cell).values()
    assert (place.repo, place.revision) == ("EleutherAI/pythia-70m-seed9", "step143000")
    cell = {"architecture": "gpt2-small", "weight_decay": "0.1", "refit": "seed343"}
    (place,) = study("gpt2-crfm").places(cell).values()
    assert place.repo == "stanford-crfm/darkmatter-gpt2-small-x343"
    assert place.revision == "checkpoint-400000"
