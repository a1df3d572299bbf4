"""The jobs of a study by message and what each reads: what edits are expected to set off.

Written from what the study is about, not from rules/, so that a missing or superfluous dependency
of a rule shows.
"""

import os
import re
from contextlib import ExitStack, contextmanager

from driver import SMOKE, jobs

CORPUS = "Reading the corpus and splitting it by document"
TOKENIZER = "Making the tokenizer"
TOKENS = "Tokenising the corpus"
HEADS = "Table of all heads"
LAYERS = "Table of layer stability"
CORRELATION = "Table of the correlation of stability with ablation effects"
CROSS_LAYER = "Table of best matches in any layer"
COMMONNESS = "Table of commonness"
CONTRAST = "Table of the contrast of weight decays"
EXTREMES = "Table of most and least stable layers"
PERPLEXITY = "Table of perplexity on whole texts"
LENGTHS = "Table of stability by prompt length"
DOSE = "Table of the dose response to weight decay"
NEEDED = "Table of how many refits are needed"
ROLES = "Table of roles"
ADJUSTED = "Table of adjusted stability"
CLAIMS = "Table of the claims"


class Plan:
    """All jobs of the smoke study, or of one that differs in the arguments."""

    def __init__(
        self,
        architectures=("one", "two"),
        decays=("0", "0.1"),
        refits=("seed1", "seed2"),
        step=30,
        prompts="passages",
        text="passages",
        crossed=False,
        untrained=True,
    ):
        self.needs = {CORPUS: {}, TOKENIZER: {CORPUS}, TOKENS: {CORPUS, TOKENIZER}}
        for name in {prompts, text} - {"held_out"}:
            self.needs[f"Making the prompt set {name}"] = {TOKENIZER, TOKENS}
        ablated_text = TOKENS if text == "held_out" else f"Making the prompt set {text}"
        stabilities, ablations, refit_tables = set(), set(), set()
        for condition in (f"{name}, wd {decay}" for name in architectures for decay in decays):
            trainings = {f"Training {condition}, {refit}" for refit in refits}
            caches = {f"Caching {condition}, {r}, step {step}, on {prompts}": r for r in refits}
            for training in trainings:
                self.needs[training] = {TOKENS}
                ablation = training.replace("Training", "Ablating")
                self.needs[ablation] = {training, ablated_text}
                ablations.add(ablation)
            for cache, refit in caches.items():
                made_of = {f"Training {condition}, {refit}", f"Making the prompt set {prompts}"}
                self.needs[cache] = made_of
            checked = f"Checking that the refits of {condition} differ"
            self.needs[checked] = trainings
            stability = f"Stability of {condition}, step {step}"
            compared = f"Comparing the heads of {condition}, step {step}"
            self.needs[compared] = {*caches, checked}
            self.needs[stability] = {compared}
            anchor, pairs = f"Table of the anchor's heads of {condition}", "pairs of refits of"
            self.needs[anchor] = {stability}
            self.needs[f"Table of {pairs} {condition}"] = {stability}
            self.needs[f"Figure: head map of {condition}"] = {anchor}
            self.needs[f"Figure: {pairs} {condition}"] = {f"Table of {pairs} {condition}"}
            stabilities.add(stability)
            refit_tables.add(checked)
        self.needs[HEADS] = stabilities | ablations
        self.needs[LAYERS] = stabilities | refit_tables
        self.needs[CORRELATION] = {HEADS}
        self.needs["Figure: layer stability"] = {LAYERS, HEADS}
        self.needs["Figure: stability and ablation effects"] = {CORRELATION}
        self.needs[CROSS_LAYER] = {*stabilities, LAYERS}
        self.needs[COMMONNESS] = stabilities
        self.needs[CONTRAST] = self.needs[EXTREMES] = {LAYERS}
        for table in (CROSS_LAYER, COMMONNESS, CONTRAST, EXTREMES):
            self.needs[table.replace("Table of", "Figure:")] = {table}
        self._streams(architectures, decays, refits, step, prompts)
        # Whole texts, first tokens of prompts, head atlas
        self.needs[PERPLEXITY], self.needs[LENGTHS] = set(), set()
        for condition in (f"{name}, wd {decay}" for name in architectures for decay in decays):
            trainings = {f"Training {condition}, {refit}" for refit in refits}
            caches = {f"Caching {condition}, {r}, step {step}, on {prompts}" for r in refits}
            for training in trainings:
                perplexity = training.replace("Training", "Perplexity of")
                self.needs[perplexity] = {training, TOKENS, TOKENIZER}
                self.needs[PERPLEXITY].add(perplexity)
            lengths = f"Stability by prompt length of {condition}"
            self.needs[lengths] = {*caches, f"Checking that the refits of {condition} differ"}
            self.needs[LENGTHS].add(lengths)
            made_of = {
                *caches,
                f"Stability of {condition}, step {step}",
                f"Making the prompt set {prompts}",
            }
            self.needs[f"Table of matched patterns of {condition}"] = made_of
            atlas = {f"Table of matched patterns of {condition}"}
            self.needs[f"Figure: head atlas of {condition}"] = atlas
        self.needs["Figure: perplexity on whole texts"] = {PERPLEXITY}
        self.needs["Figure: stability by prompt length"] = {LENGTHS}
        self._questions(architectures, decays, refits, step, prompts, crossed)
        self._claims(architectures, decays, refits, step, prompts)
        if untrained:
            self._untrained(architectures, min(decays, key=float), refits, prompts)
        assert set().union(*self.needs.values()) <= self.needs.keys()

    def _questions(self, architectures, decays, refits, step, prompts, crossed):
        """Dose response, refits needed and roles; no steps are listed, no origins to be told."""
        checked, stabilities, scored = set(), set(), set()
        for condition in (f"{name}, wd {decay}" for name in architectures for decay in decays):
            scores = {f"Scoring the heads of {condition}, {refit}" for refit in refits}
            for score in scores:
                training = score.replace("Scoring the heads of", "Training")
                cache = f"{training.replace('Training', 'Caching')}, step {step}, on {prompts}"
                self.needs[score] = {training, cache, f"Making the prompt set {prompts}"}
            roles = f"Roles of the heads of {condition}"
            self.needs[roles] = {*scores, f"Stability of {condition}, step {step}"}
            scored.add(roles)
            stabilities.add(f"Stability of {condition}, step {step}")
            checked.add(f"Checking that the refits of {condition} differ")
        self.needs[ROLES] = scored
        if not crossed:
            self.needs[NEEDED] = stabilities
            self.needs[NEEDED.replace("Table of", "Figure:")] = {NEEDED}
        self.needs["Figure: stability by role"] = {ROLES}
        if len(decays) > 1:
            adjusted = {s.replace("Stability", "Adjusted stability") for s in stabilities}
            self.needs[DOSE] = stabilities | checked | adjusted
            self.needs[DOSE.replace("Table of", "Figure:")] = {DOSE}

    def _claims(self, architectures, decays, refits, step, prompts):
        """Adjusted measures beside the untrained reference, the claims, and dead heads."""
        self.needs[ADJUSTED], self.needs[CLAIMS] = set(), {HEADS}
        for condition in (f"{name}, wd {decay}" for name in architectures for decay in decays):
            caches = {f"Caching {condition}, {r}, step {step}, on {prompts}" for r in refits}
            adjusted = f"Adjusted stability of {condition}, step {step}"
            self.needs[adjusted] = {*caches, f"Comparing the heads of {condition}, step {step}"}
            stability = f"Stability of {condition}, step {step}"
            self.needs[ADJUSTED] |= {adjusted, stability}
            perplexities = {f"Perplexity of {condition}, {refit}" for refit in refits}
            ablations = {f"Ablating {condition}, {refit}" for refit in refits}
            measured = {f"Residual streams of {condition}", *perplexities, *ablations}
            self.needs[CLAIMS] |= {adjusted, stability, *measured}
            plain = f"{condition.split(',')[0]}, wd 0"
            without = {f"Ablating {plain}, {r}" for r in refits} if "0" in decays else set()
            self.needs[f"Table of the anchor's heads of {condition}"] |= ablations | without
        self.needs["Figure: adjusted stability"] = {ADJUSTED}
        self.needs["Figure: the claims"] = {CLAIMS}

    def _untrained(self, architectures, decay, refits, prompts):
        """The reference of step 0, for which one weight decay stands."""
        for condition in (f"{name}, wd {decay}" for name in architectures):
            caches = {
                f"Caching {condition}, {refit}, step 0, on {prompts}": refit for refit in refits
            }
            for cache, refit in caches.items():
                made_of = {f"Training {condition}, {refit}", f"Making the prompt set {prompts}"}
                self.needs[cache] = made_of
            compared = f"Comparing the heads of {condition}, step 0"
            self.needs[compared] = {*caches, f"Checking that the refits of {condition} differ"}
            self.needs[f"Stability of {condition}, step 0"] = {compared}
            self.needs[ADJUSTED].add(f"Stability of {condition}, step 0")

    def _streams(self, architectures, decays, refits, step, prompts):
        """Residual streams, norms and the map of heads."""
        streams, norms = set(), set()
        for decay in decays:
            mapped = set()
            for condition in (f"{name}, wd {decay}" for name in architectures):
                caches = {f"Caching {condition}, {r}, step {step}, on {prompts}" for r in refits}
                checked = f"Checking that the refits of {condition} differ"
                self.needs[f"Residual streams of {condition}"] = {*caches, checked}
                self.needs[f"Norms of {condition}"] = {*caches, checked}
                streams.add(f"Residual streams of {condition}")
                norms.add(f"Norms of {condition}")
                mapped |= {*caches, checked}
            self.needs[f"Map of all heads, wd {decay}"] = mapped
            self.needs[f"Figure: map of all heads, wd {decay}"] = {f"Map of all heads, wd {decay}"}
        for name, needs in {
            "residual streams": {*streams, LAYERS},
            "norms of activations": norms,
            "stability and weight norms": {*norms, LAYERS},
        }.items():
            self.needs[f"Table of {name}"] = needs
            self.needs[f"Figure: {name}"] = {f"Table of {name}"}

    def below(self, *patterns):
        """Sorted: the jobs one of the patterns matches from the start, and all that needs them."""
        found = {job for job in self.needs for pattern in patterns if re.match(pattern, job)}
        assert all(any(re.match(p, job) for job in found) for p in patterns), "a pattern of no job"
        while more := {job for job, needs in self.needs.items() if found & set(needs)} - found:
            found |= more
        return sorted(found)


def expect(folder, expected, *args, study=SMOKE):
    """Assert that a dry run would do exactly the expected jobs."""
    planned = jobs(folder, *args, *study)  # targets before --configfile, which takes many
    surplus, missing = set(planned) - set(expected), set(expected) - set(planned)
    assert not surplus, f"would run for nothing: {sorted(surplus)}"
    assert not missing, f"would not run: {sorted(missing)}"
    assert planned == sorted(expected), "a job is planned twice"


@contextmanager
def rewritten(path, change):
    """Apply `change` to a file's text; afterwards its bytes and times are as before."""
    before, status = path.read_bytes(), path.stat()
    after = change(before.decode())
    assert after.encode() != before, f"the edit of {path.name} changes nothing"
    path.write_text(after)
    try:
        yield path
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def edited(path, old, new):
    """Replace a text of a file, which must be there."""
    assert old in path.read_text(), f"{old!r} is not in {path.name}"
    return rewritten(path, lambda text: text.replace(old, new))


@contextmanager
def removed(*paths):
    """Take files away for a while."""
    with ExitStack() as stack:
        for path in paths:
            aside = path.with_name(f"{path.name}.aside")
            path.rename(aside)
            stack.callback(aside.rename, path)
        yield
