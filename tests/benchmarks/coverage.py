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

from benchmarks import planted, simulated  # noqa: E402
from benchmarks.simulated import limit  # noqa: E402

# Simulating heads takes longer.
MOST_OF_CLAIM_3, MOST_OF_PLANTED = 2000, 400


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


def verdict_table(simulations):
    """The largest rate of every wrong word, by claim and number of refits."""
    rows = []
    for refits in simulated.VERDICT_REFITS:
        for ratio in simulated.RATIOS[:-1]:
            found = {
                name: (simulated.error_rates(name, refits, ratio, simulations), simulations)
                for name in simulated.CLAIMS
            }
            fewer = min(simulations, MOST_OF_CLAIM_3)
            for part in ("mean", "partial"):
                rates = simulated.claim_3_rates(part, refits, ratio, fewer)
                found[f"3, {part} tau"] = rates, fewer
            for name, (rates, count) in sorted(found.items()):
                rows.append([str(refits), str(ratio), name, *errors(rates, count)])
    return table(["refits", "ratio", "claim", *simulated.ERRORS], rows)


def errors(rates, simulations):
    bound = limit(0.025, simulations)
    return [percent(rates[error], bound) for error in simulated.ERRORS]


def condition_tables(simulations):
    """Error rates of pooled verdicts and of Holm's correction."""
    pooled = [
        [
            *(str(refits), str(conditions), f"{100 * shared:.0f} %"),
            *errors(simulated.pooled_rates(conditions, shared, refits, simulations), simulations),
        ]
        for refits in simulated.VERDICT_REFITS[1:-1]
        for conditions in (4, 8, 26)
        for shared in (0.0, 0.1, 0.5)
    ]
    holm = [
        [
            *(str(refits), str(conditions)),
            *errors(simulated.holm_rates(conditions, refits, 1, simulations), simulations),
        ]
        for refits in (4, 10)
        for conditions in (4, 26)
    ]
    start = ["refits", "conditions", "variance they share"]
    return table([*start, *simulated.ERRORS], pooled), table([*start[:2], *simulated.ERRORS], holm)


def planted_tables(simulations):
    """Recurrence of planted heads, and what a ceiling does to copies with noise."""
    rows = []
    for kind in planted.PLANTED:
        for refits in planted.REFITS:
            cells = []
            for share in planted.SHARES:
                rho, above, _ = planted.recurrence_of(kind, share, refits, simulations)
                bound = limit(0.025, simulations) if share == 0 else None
                cells.append(f"{rho:.3f} ({percent(above, bound)})")
            rows.append([kind, str(refits), *cells])
    header = ["heads", "refits", *(f"q = {share:g}" for share in planted.SHARES)]
    noisy = []
    for noise in (0.0, 0.3, 0.6):
        one, twins = planted.twins_of(4, noise, simulations)
        noisy.append([f"{noise:g}", f"{one:.3f}", f"{twins:.3f}"])
    return table(header, rows), table(["noise", "ceiling 1", "ceiling of twins"], noisy)


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

The largest rate of every wrong word: of one part at its critical value while the others clearly
hold (the hardest case for a positive word, which needs all parts) and of all parts at theirs (the
hardest case for a negative word, which needs one). Nominal: 2.5 % each; rates of the perplexity
bound, a one-sided 95 % bound, are halved. {layers} layers; delta is small against the noise. With 3
refits every verdict is inconclusive.

{verdicts}

## Over conditions

Means over conditions of which a share of the variance is common to all, because they have the same
seeds: a seed is left out of all conditions at once.

{pooled}

Holm's correction over conditions: the share of studies in which any condition gets the wrong word.

{holm}

## Recurrence of planted heads

Mean rho over {planted_studies} studies, and in brackets the share of 95 % intervals whose lower end
is above 0, of {heads} heads of {width} dimensions: a share q of them in every refit, the others
unrelated. *Hubs*: all heads share a direction, in different strength. *Nearly even*: they share one
that is 5 times as large as what is their own. *Refit signature*: heads of one refit share a
direction, which leaves less that can come back.

{recurrence}

Universal heads whose copy in every refit has noise of its own (in units of the head): a ceiling
from twins, here a second copy of each refit with noise of its own, takes the noise out.

{noisy}
"""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "simulations.md")
    given = parser.parse_args(arguments)
    count = given.simulations
    covering, prompts = coverage_tables(count)
    pooled, holm = condition_tables(count)
    few = min(count, MOST_OF_PLANTED)
    recurrence, noisy = planted_tables(few)
    page = PAGE.format(
        simulations=f"{count:,}",
        bound=percent(limit(0.025, count)),
        layers=simulated.LAYERS,
        most_of_claim_3=MOST_OF_CLAIM_3,
        coverage=covering,
        prompts=prompts,
        verdicts=verdict_table(count),
        pooled=pooled,
        holm=holm,
        recurrence=recurrence,
        noisy=noisy,
        planted_studies=few,
        heads=planted.PLANTED_HEADS,
        width=planted.WIDTH,
    )
    given.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
