"""Interval coverage and error rates of the verdicts, on simulated refits: the page.

    python tests/benchmarks/coverage.py              writes docs/simulations.md (some minutes)
    python tests/benchmarks/coverage.py --simulations 200 --output quick.md

The suite runs the same simulations, fewer of them (tests/unit/test_verdicts.py).
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "scripts"), str(ROOT / "tests")]

from benchmarks import simulated  # noqa: E402
from benchmarks.simulated import limit  # noqa: E402

# Simulating heads takes longer.
MOST_OF_CLAIM_3 = 2000


def table(header, rows):
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def percent(value, bound=None, above=True):
    """A rate to print; bold where it misses its bound."""
    missed = bound is not None and (value > bound if above else value < bound)
    text = f"{100 * value:.1f} %"
    return f"**{text}**" if missed else text


def coverage_tables(simulations):
    """Both tables of coverage."""
    plain = []
    for refits in simulated.REFITS:
        for ratio in simulated.RATIOS:
            jackknife, naive = simulated.coverage(refits, ratio, simulations)
            plain.append([str(refits), str(ratio), percent(jackknife, 0.93, False), percent(naive)])
    prompts = []
    for refits in simulated.REFITS[:-1]:
        for ratio in simulated.RATIOS[:-1]:
            both, refits_only = simulated.coverage_with_prompts(refits, ratio, simulations)
            cells = [percent(both, 0.93, False), percent(refits_only)]
            prompts.append([str(refits), str(ratio), *cells])
    start = ["refits", "node to pair variance"]
    return (
        table([*start, "jackknife", "pairs taken as independent"], plain),
        table([*start, "refits and prompts", "refits alone"], prompts),
    )


def verdict_tables(simulations):
    """Error rates by part, and of claims all of whose parts lie at delta."""
    ratios = simulated.RATIOS[:-1]
    by_part, together = [], []
    for refits in simulated.VERDICT_REFITS:
        cells = {}
        for ratio in ratios:
            for name, parts in simulated.PARTS.items():
                *rates, all_at_delta = simulated.error_rates(name, refits, ratio, simulations)
                for part, pair in enumerate(zip(*rates, strict=True)):
                    bound = limit(simulated.nominal(name, part), simulations)
                    cells.setdefault((name, parts[part]), []).append(both(pair, bound))
                if len(parts) > 1:
                    cell = percent(all_at_delta, limit(0.025, simulations))
                    cells.setdefault((name, None), []).append(cell)
            for part in simulated.PROFILES:
                fewer = min(simulations, MOST_OF_CLAIM_3)
                pair = simulated.claim_3_rates(part, refits, ratio, fewer)
                cell = both(pair, limit(0.025, fewer))
                cells.setdefault(("3", f"-{part} of tau"), []).append(cell)
        for name, part in sorted(cells, key=lambda key: key[0]):
            labels = [str(refits), name]
            if part is None:
                together.append([*labels, *cells[name, part]])
            else:
                by_part.append([*labels, part, *cells[name, part]])
    header = [f"ratio {ratio}" for ratio in ratios]
    return (
        table(["refits", "claim", "part", *header], by_part),
        table(["refits", "claim", *header], together),
    )


def both(pair, bound):
    return " / ".join(percent(rate, bound) for rate in pair)


def condition_tables(simulations):
    """Error rates of pooled verdicts and of Holm's correction."""
    bound = limit(0.025, simulations)
    pooled = [
        [
            str(c),
            f"{100 * shared:.0f} %",
            *(percent(r, bound) for r in simulated.pooled_rates(c, shared, simulations)),
        ]
        for c in (4, 8, 26)
        for shared in (0.0, 0.1, 0.5)
    ]
    holm = [
        [str(c), str(refits), percent(simulated.holm_rate(c, refits, 1, simulations), bound)]
        for c in (4, 26)
        for refits in (5, 10)
    ]
    header = ["conditions", "variance they share", "supported at 0", "not supported at delta"]
    return table(header, pooled), table(["conditions", "refits", "any p below .025"], holm)


PAGE = """# Simulations: do intervals and verdicts keep their promises?

Written by `python tests/benchmarks/coverage.py` ({simulations} simulated studies a cell; claim 3:
at most {most_of_claim_3:,}). The formulas are in [statistics.md](statistics.md). Similarities of
pairs of refits are simulated as a mean plus a part of each refit (node) and a part of the pair,
both normal; the ratio is that of their variances. A rate is bold where it misses its target:
coverage below 93 %, an error rate above its nominal value by more than three standard errors of the
simulation (above {bound} for a nominal 2.5 %).

## Coverage of nominal 95 % intervals

Mean over pairs, delete-one-refit jackknife. Above 95 % is over-coverage: the jackknife counts the
pairs' own noise twice, which matters where the refits' part is small. The last column shows a wrong
method.

{coverage}

With noise from prompts too (20 groups; a group's standard deviation is twice that of a pair), SE^2
is the sum of both jackknives. The intervals over-cover, because the t quantile of the refits is
used for the prompts as well.

{prompts}

## Errors of verdicts

Supported at effect 0 / not supported at effect delta, for one part of a claim whose other parts
clearly hold (the hardest case). Nominal: 2.5 % each, 5 % for the perplexity bound (delta 0).
{layers} layers; delta is small against the noise, so that the demand "estimate at least delta" does
not hide errors. With 3 refits every verdict is inconclusive.

{verdicts}

**The target is missed** for "not supported" of a claim of several parts if all are exactly at
delta. A single unsupported part decides, without correction, so the rates of the parts add up
(one part of claim 4 is allowed 5 % by itself):

{together}

## Over conditions

Pooled t over conditions. The target is met where conditions are independent. **It is missed** where
they share noise, as they may if they share seeds: the pooled interval ignores that part.

{pooled}

Holm's correction over conditions, all effects 0: the share of studies in which any condition is
called significant.

{holm}
"""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "simulations.md")
    given = parser.parse_args(arguments)
    count = given.simulations
    covering, prompts = coverage_tables(count)
    by_part, together = verdict_tables(count)
    pooled, holm = condition_tables(count)
    page = PAGE.format(
        simulations=f"{count:,}",
        bound=percent(limit(0.025, count)),
        layers=simulated.LAYERS,
        most_of_claim_3=MOST_OF_CLAIM_3,
        coverage=covering,
        prompts=prompts,
        verdicts=by_part,
        together=together,
        pooled=pooled,
        holm=holm,
    )
    given.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
