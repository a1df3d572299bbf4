"""Prompts from the web: fetched once, checked, refused with a message; from a loopback server."""

import hashlib
import pickle

import pytest
import yaml
from loopback_web import serving_files
from test_config import edited, problems

from headstability.errors import UserError
from headstability.hub import web
from headstability.hub.web import fetch_file
from headstability.study.study import Study

DATA = pickle.dumps(["a prompt", "another one"])
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = "prompts.paper"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home/headstability"


def test_a_file_is_fetched_once_whatever_the_case_of_its_hash(home):
    with serving_files({"a/prompts.pkl": DATA}) as (address, asked):
        for sha256 in (SHA256, SHA256.upper()):
            found = fetch_file(f"{address}/a/prompts.pkl", sha256, KEY)
            assert found.read_bytes() == DATA
            assert found.parent == home
            assert found.suffix == ".pkl"
        assert asked == ["a/prompts.pkl"]


def test_an_altered_copy_is_fetched_again():
    with serving_files({"prompts.pkl": DATA}) as (address, asked):
        found = fetch_file(f"{address}/prompts.pkl", SHA256, KEY)
        found.write_bytes(DATA[:-1])
        assert fetch_file(f"{address}/prompts.pkl", SHA256, KEY).read_bytes() == DATA
        assert len(asked) == 2


def test_another_file_is_refused_and_not_kept(home):
    with (
        serving_files({"prompts.pkl": DATA + b"."}) as (address, _),
        pytest.raises(UserError, match=rf"expected {SHA256}: it changed.*prompts\.paper\.sha256"),
    ):
        fetch_file(f"{address}/prompts.pkl", SHA256, KEY)
    assert not home.exists()


def test_what_cannot_be_fetched_says_what_to_do(home):
    with serving_files({"cut.pkl": DATA}, {"cut.pkl": len(DATA) + 10}) as (address, _):
        with pytest.raises(UserError, match=r"cannot be fetched: HTTP Error 404.*prompts\.paper"):
            fetch_file(f"{address}/none.pkl", SHA256, KEY)
        with pytest.raises(UserError, match="arrived damaged"):
            fetch_file(f"{address}/cut.pkl", hashlib.sha256(DATA + b"x").hexdigest(), KEY)
    with pytest.raises(UserError, match=r"cannot be fetched.*refused.*type: file, path"):
        fetch_file(f"{address}/cut.pkl", SHA256, KEY)
    assert not home.exists()


def test_no_more_is_read_than_a_prompt_file_can_hold(monkeypatch, home):
    monkeypatch.setattr(web, "LARGEST", 10)
    with (
        serving_files({"prompts.pkl": DATA}) as (address, _),
        pytest.raises(UserError, match="more than 10 bytes"),
    ):
        fetch_file(f"{address}/prompts.pkl", SHA256, KEY)
    assert not home.exists()


WRONG = [
    ("url: 'https://x.org/a.csv'", "url", ".txt, .json or .pkl"),
    ("url: 'file:///etc/a.txt'", "url", "https://"),
    ("url: 'https://x.org/{a}.txt'", "url", "{ or }"),
    ("sha256: 12", "sha256", "12"),
    ("sha256: abc", "sha256", "64 hexadecimal digits"),
    ("sha256: null", "sha256", "null"),
    ("path: a.txt", "path", "it belongs to type file"),
]


@pytest.mark.parametrize(("edit", "key", "words"), WRONG)
def test_wrong_places_are_named(edit, key, words):
    chosen = {"type": "url", "url": "https://x.org/a.txt", "sha256": SHA256}
    raw = edited("prompts: {}")
    raw["prompts"]["mine"] = chosen | yaml.safe_load(edit)
    assert words in problems(raw)[f"prompts.mine.{key}"]
    raw["prompts"]["mine"] = chosen
    assert Study(raw).prompt_files({"prompts": "mine"}) == []
