"""Exports among the files of a study: on request, known to verify, damage noticed."""

import pytest
import torch
from plans import plan_of_config
from test_config import edited
from test_huggingface import exported
from test_model import SHAPES, random_model

from headstability.exchange.exporting import write_transformerlens
from headstability.monitor.verify import verify_study
from headstability.study.study import Study


def test_exports_are_made_on_request_only():
    raw = edited("refits: 2")
    study, plan = Study(raw), plan_of_config(raw)
    assert not any("/exports/" in path for path in plan.expected)
    possible = [path for path in plan.on_request if "/exports/" in path]
    steps = len(study.checkpoint_steps)
    assert len(possible) == len(study.cells()) * steps * 5


@pytest.mark.parametrize("name", ["final.pt", "model.safetensors", "modeling_headstability.py"])
def test_damage_to_an_export_is_noticed(name, tmp_path):
    model = random_model(SHAPES[0], dtype=torch.float32)
    folder = tmp_path / "exports" / "cell"
    write_transformerlens(model, folder / "final.pt", folder / "config.json")
    exported(model, folder)
    paths = [str(p) for p in folder.glob("*") if not p.name.startswith(".")]
    assert len(paths) == 4
    found = verify_study(tmp_path, [], paths)
    assert (found.damaged, found.checked, found.orphaned) == ([], 4, [])
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    (damaged,) = verify_study(tmp_path, [], paths).damaged
    assert damaged[0] == str(folder / name)
