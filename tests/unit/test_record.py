import collections

import pytest
import yaml
from test_study import config

from headstability.errors import DamagedFile, UserError
from headstability.storage.files import sidecar
from headstability.study.saved_config import record_config, recorded_config
from headstability.study.study import Study


def test_a_config_comes_back_with_its_order(tmp_path):
    path = tmp_path / "config.yaml"
    raw = config(refits={"init_seeds": [2, 1], "data_seeds": [3, 4]})
    record_config(path, collections.OrderedDict(raw))
    found = recorded_config(path)
    assert found == raw
    assert list(found["architectures"]) == ["small", "large"]
    assert Study(found).cells() == Study(raw).cells()
    assert Study(yaml.safe_load(path.read_text())).name == raw["study"], "--configfile takes it"


def test_the_record_is_written_only_when_the_config_changed(tmp_path):
    path = tmp_path / "config.yaml"
    record_config(path, config())
    before = path.stat().st_mtime_ns
    record_config(path, config())
    assert path.stat().st_mtime_ns == before
    record_config(path, config(refits=5))
    assert recorded_config(path)["refits"] == 5


def test_an_altered_or_missing_record_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    with pytest.raises(UserError, match="is missing, the record"):
        recorded_config(path)
    record_config(path, config())
    path.write_text(path.read_text().replace("steps: 40", "steps: 41"))
    with pytest.raises(DamagedFile, match="its sha256 is"):
        recorded_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedFile, match="not text"):
        recorded_config(path)
    record_config(tmp_path / "other.yaml", config())
    sidecar(tmp_path / "other.yaml").unlink()
    with pytest.raises(DamagedFile, match="is missing"):
        recorded_config(tmp_path / "other.yaml")
