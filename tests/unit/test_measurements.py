"""The config of ablation, perplexity, prompt lengths and head atlas, and what their jobs know."""

import pytest
from test_config import edited, problems
from test_study import config, with_files

from headstability.errors import UserError
from headstability.study.study import Study

# (edit in YAML, key the message starts with, what the message says)
WRONG = [
    ("ablation: {methods: [zero, resample]}", "ablation.methods[2]", ["'zero' or 'mean'"]),
    ("ablation: {methods: [zero, zero]}", "ablation.methods", ["'zero' is listed twice"]),
    ("ablation: {methods: []}", "ablation.methods", ["[]", "at least 1"]),
    ("ablation: {methods: mean}", "ablation.methods", ["'mean'", "give a list"]),
    ("ablation: {correlation: spearman}", "ablation.correlation", ["'pearson' or 'kendall'"]),
    ("perplexity: {texts: [a.txt]}", "perplexity.texts", ["give a mapping"]),
    ("perplexity: {text: {}}", "perplexity.text", ["did you mean 'texts'?"]),
    ("perplexity: {texts: {held_out: a.txt}}", "perplexity.texts.held_out", ["reserved"]),
    ("perplexity: {texts: {a b: a.txt}}", "perplexity.texts.a b", ["only letters, digits"]),
    ("perplexity: {texts: {a: 3}}", "perplexity.texts.a", ["3", "give text"]),
    ("perplexity: {texts: {a: '{b}'}}", "perplexity.texts.a", ["{ or }"]),
    ("prompt_lengths: {tokens: [5, 21]}", "prompt_lengths.tokens[2]", ["21", "prompts.passages"]),
    ("prompt_lengths: {tokens: [5, 5]}", "prompt_lengths.tokens", ["5 is listed twice"]),
    ("prompt_lengths: {tokens: []}", "prompt_lengths.tokens", ["[]", "at least 1"]),
    ("prompt_lengths: {tokens: [0]}", "prompt_lengths.tokens[1]", ["0", "at least 1"]),
    ("prompt_lengths: {prompts: 0}", "prompt_lengths.prompts", ["0", "at least 1"]),
    ("atlas: {prompt: 7}", "atlas.prompt", ["7 is beyond the 6 prompts of prompts.passages"]),
    ("atlas: {prompt: 0}", "atlas.prompt", ["0", "at least 1"]),
    ("atlas: {heads: 1}", "atlas.heads", ["1", "at least 2"]),
    ("atlas: {refits: 1}", "atlas.refits", ["1", "at least 2"]),
    ("atlas: {tokens: 1}", "atlas.tokens", ["1", "at least 2"]),
]


@pytest.mark.parametrize(("edit", "key", "words"), WRONG, ids=[item[0][:60] for item in WRONG])
def test_wrong_configs_are_named(edit, key, words):
    found = problems(edited(edit))
    assert key in found
    missing = [word for word in words if word not in found[key]]
    assert not missing, found[key]


@pytest.mark.parametrize(
    "edit",
    [
        "prompt_lengths: {tokens: [20, 5]}",
        # How long the prompts of a file are, and how many, shows only when it is read.
        "{stability: {prompts: mine}, prompt_lengths: {tokens: [500]}, atlas: {prompt: 500}}",
        "{prompts: {passages: {count: 9}}, atlas: {prompt: 9}}",
        "ablation: {methods: [mean], correlation: kendall}",
        "atlas: {refits: 100}",
    ],
)
def test_what_is_allowed(edit):
    Study(edited(edit))


def test_a_missing_text_is_named_by_its_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_files(tmp_path)
    raw = config(perplexity__texts={"wiki": "wiki.txt", "mine": "mine.txt"})
    with pytest.raises(UserError, match=r"perplexity\.texts\.wiki: wiki\.txt is not a file"):
        Study(raw).check_files()
    (tmp_path / "wiki.txt").write_text("words")
    Study(raw).check_files()
    assert Study(raw).perplexity_files() == ["wiki.txt", "mine.txt"]


@pytest.mark.parametrize(
    ("refits", "shown"),
    [(2, ["seed3", "seed1"]), (3, ["seed3", "seed1", "seed2"]), (9, ["seed3", "seed1", "seed2"])],
)
def test_the_atlas_shows_the_anchor_first(refits, shown):
    assert Study(config(atlas__refits=refits)).atlas_refits() == shown
