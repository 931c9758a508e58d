"""docs/results/attacks.md from what benchmarks.attacks measured."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.attacks.rates import LEVEL, SLASH, STAKE, AttackOutcome, simultaneous_level
from benchmarks.shared.replay_tasks import machine_facts, table


def markdown(outcomes: Sequence[AttackOutcome], notes: Sequence[str]) -> str:
    level = simultaneous_level(outcomes)
    chance = [outcome for outcome in outcomes if not outcome.whole_run]
    sections = [
        "# Attacks on verified training",
        "Every attacker commits to a transcript that is consistent in itself; challenges are drawn with the protocol's "
        "sampler. *Samples* are the steps that all verifiers replay besides the first and the last. Earnings are in "
        "units of a round's pay, for a stake of "
        f"{STAKE:g} rounds' pay of which a caught cheat loses {SLASH:.0%}. Made by `python -m benchmarks.attacks`.",
        "## Attacks on the whole run, or with a fault in a step that is always sampled",
        _rows([outcome for outcome in outcomes if outcome.whole_run], level),
        "## Attacks that hope not to be sampled",
        _criterion(chance, level),
        _rows(chance, level),
        "A single bad step is caught with probability k/(N-2) by k samples, however many verifiers replay them: stake "
        "prices what is left, see the last column.",
        "## Others",
        "\n".join(f"- {note}" for note in notes),
        "Attackers over whole rounds of 120 steps, in both modes and on every family of methods: "
        "`python -m benchmarks.attacks.full_rounds` ([full rounds](full_rounds.md)).",
        "What a push is worth that the drift test does not see is measured by "
        "`python -m benchmarks.attacks.steering` ([steering](steering.md)).",
        f"Machine: {machine_facts()}",
    ]
    return "\n\n".join(sections)


def _rows(outcomes: Sequence[AttackOutcome], level: float) -> str:
    header = (
        "attack", "setting", "corrupts", "steps refused", "failing check", "samples", "caught", "95 % interval",
        "promised", "kept", "earns (honest: +1)",
    )  # fmt: skip
    rows = []
    for outcome in outcomes:
        low, high = outcome.interval()
        rows.append(
            (
                outcome.attack, outcome.setting, outcome.corrupts, f"{outcome.refused}/{outcome.steps}",
                outcome.checks, outcome.samples,
                f"{outcome.caught}/{outcome.trials} = {outcome.caught / outcome.trials:.4f}",
                f"{low:.4f} to {high:.4f}", f"{outcome.promised:.4f}", "yes" if outcome.kept(level) else "**NO**",
                f"{outcome.earnings:+.2f}",
            )
        )  # fmt: skip
    return table(header, rows)


def _criterion(chance: Sequence[AttackOutcome], level: float) -> str:
    open_rows = [outcome for outcome in chance if not outcome.certain]
    outside = [outcome for outcome in open_rows if not _inside(outcome)]
    below = sum(outcome.caught / outcome.trials < outcome.promised for outcome in outside)
    return (
        f"Intervals are exact (Clopper and Pearson). Of {len(open_rows)} rows with a promise below one, "
        f"{len(outside)} miss their own 95 % interval ({below} caught too few, {len(outside) - below} too many); "
        f"{(1 - LEVEL) * len(open_rows):.1f} or fewer are expected to by chance alone. *Kept* asks for the promise to "
        f"lie in the row's {level:.2%} interval: then all rows together hold with {LEVEL:.0%} if every promise is true "
        "(Bonferroni). Rows draw challenges of their own. A promise of certainty is kept only if every trial is caught."
    )


def _inside(outcome: AttackOutcome) -> bool:
    low, high = outcome.interval()
    return low <= outcome.promised <= high
