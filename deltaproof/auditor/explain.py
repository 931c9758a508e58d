"""Why one trainer got what it got in one round: from commitment to the last unit of the payout, with every number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deltaproof.auditor.facts.leaves import find_leaves, read_attestations
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.facts.sharing import players_of, readable_game
from deltaproof.auditor.facts.tasks import RoundFacts, UnknownSubject
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.contracts.money import UNNAMED, Money
from deltaproof.errors import ArtifactError
from deltaproof.protocol.outcome.attestation import Attestation, GameRecord
from deltaproof.protocol.outcome.reports import taken_over
from deltaproof.protocol.outcome.settlement import SettlementLeaf, leaves_tree
from deltaproof.protocol.rules import NANOS, STEP_UNITS
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, hex_of
from deltaproof.reporting import counted
from deltaproof.store import ArtifactStore
from incentives.path import path_values
from incentives.scoring import path_pass
from incentives.settling import payouts_of

__all__ = ["SHOWN_LOSS", "Explanation", "explain"]


SHOWN_LOSS = 1e-3
"""Share of an aggregate from which on what it lost is worth a sentence."""


@dataclass(frozen=True)
class Explanation:
    """Sentences for a person, and the numbers behind them for a script."""

    lines: tuple[str, ...]
    numbers: dict[str, Any]


def explain(
    index: Index,
    store: ArtifactStore,
    task_id: int,
    round_: int,
    trainer: Address,
    *,
    paid: Money = UNNAMED,
    staked: Money = UNNAMED,
) -> Explanation:
    """Sentences write amounts as `paid` and `staked` say, for the reward and the stake token.

    Raises UnknownSubject if the trainer did not commit in that round, ArtifactError without the task's spec.
    """
    facts = load_round(index, load_task(index, task_id), round_)
    if trainer not in facts.commitments:
        raise UnknownSubject(f"{trainer} did not commit in round {round_} of task {task_id}")
    spec = store.get_document(TaskSpec, facts.task.params.spec_hash)
    documents = read_attestations(facts, spec, store)
    leaves = find_leaves(index, facts, spec, store)
    numbers: dict[str, Any] = {"task": task_id, "round": round_, "trainer": trainer}
    lines = [
        *_work(facts, trainer, numbers),
        *_readers(spec),
        *_verdicts(facts, documents, trainer, numbers),
        *_value(facts, spec, documents, store, trainer, numbers),
        *_pay(facts, spec, leaves, trainer, numbers, paid),
        *_money(facts, trainer, numbers, paid, staked),
    ]
    return Explanation(tuple(lines), numbers)


def _work(facts: RoundFacts, trainer: Address, numbers: dict[str, Any]) -> Iterator[str]:
    commitment, reveal = facts.commitments[trainer], facts.reveals.get(trainer)
    numbers["commitment"] = hex_of(commitment.commitment)
    yield f"committed {hex_of(commitment.commitment)} in transaction {commitment.event.transaction}"
    if reveal is None:
        yield "never revealed it"
        return
    numbers |= {"deltaDigest": hex_of(reveal.delta_digest), "transcriptRoot": hex_of(reveal.transcript_root)}
    yield f"revealed delta {hex_of(reveal.delta_digest)} in transaction {reveal.event.transaction}"
    yield f"with the transcript of all steps {hex_of(reveal.transcript_root)}"


def _readers(spec: TaskSpec) -> Iterator[str]:
    if spec.adapter.sealed:
        yield "the delta is sealed for who takes part in the task"
    if spec.data.sealed:
        yield "its drawn rows are sealed for the round's verifiers: nobody else repeats their replays"


def _verdicts(
    facts: RoundFacts, documents: dict[Address, Attestation], trainer: Address, numbers: dict[str, Any]
) -> Iterator[str]:
    found: list[dict[str, Any]] = []
    for verifier in facts.attestations:
        document = documents.get(verifier)
        finding = document.by_trainer().get(trainer) if document else None
        if finding is None:
            yield f"verifier {verifier}: its attestation is not in the store"
            continue
        steps = sorted({check.step for check in finding.checks if check.step >= 0})
        failure = finding.failure()
        verdict = finding.verdict.name.lower()
        found.append(
            {
                "verifier": verifier, "verdict": verdict, "steps": steps, "takenOver": taken_over(finding),
                "scoreNanos": finding.score_nanos,
            }
        )  # fmt: skip
        why = f": {failure.message}" if failure else ""
        looked = f"replayed steps {', '.join(map(str, steps)) or 'none'}"
        if taken_over(finding):
            looked = "was not drawn for it, read what its committee replayed,"
        yield f"verifier {verifier} {looked} and {verdict} it{why}"
    numbers["verifiers"] = found


def _value(
    facts: RoundFacts,
    spec: TaskSpec,
    documents: dict[Address, Attestation],
    store: ArtifactStore,
    trainer: Address,
    numbers: dict[str, Any],
) -> Iterator[str]:
    posted = facts.standing
    if posted is None:
        return
    source: Attestation | None
    try:
        most = attestation_bytes(spec, len(facts.trainers))
        source = store.get_attestation(Attestation, posted.settlement.artifact_digest, most)
    except ArtifactError:
        source = next(iter(documents.values()), None)
    if source is None or source.game is None:
        yield "the round was not scored: no accepted delta, or the sponsor did not show the validation set"
        return
    game = readable_game(facts, source)
    if game is None:
        yield "the attested game is none of who was accepted: no score follows from it"
        return
    yield (
        f"the round took held-out loss from {game.start_loss:.6f} to {game.end_loss:.6f}, "
        f"accuracy from {game.start_accuracy:.3f} to {game.end_accuracy:.3f}"
    )
    numbers["truncation"] = game.truncation
    if game.truncation >= SHOWN_LOSS:
        yield (
            f"the next adapter holds all but {game.truncation:.1%} of the norm of what the deltas came to together: "
            "the method's form has no room for the rest"
        )
    numbers["emulators"] = [score.model_dump() for score in game.emulators]
    for score in game.emulators:
        yield (
            f"on emulator {score.emulator} the same adapter has loss {score.loss:.6f}, accuracy {score.accuracy:.3f}: "
            f"plugged into the full model it is {score.loss - game.end_loss:+.6f} nats better than trainers see"
        )
    yield from _rows(game, trainer, numbers)
    union = next((union for union in players_of(facts, spec, source) if trainer in union), [])
    numbers["sharesDataWith"] = [member for member in union if member != trainer]
    if len(union) > 1:
        yield (
            f"{len(union)} accepted trainers enrolled this data root: their deltas are one player, and each is scored "
            f"with 1/{len(union)} of what the player is worth"
        )
    if union and game.passes:
        yield from _along_step(game, game.players.index(union[0]), numbers)
    elif union:
        yield from _marginals(game, game.players.index(union[0]), numbers)


def _rows(game: GameRecord, trainer: Address, numbers: dict[str, Any]) -> Iterator[str]:
    """Why a weight counts fewer rows than were enrolled."""
    mine = next((record for record in game.rows if record.trainer == trainer), None)
    if mine is None:
        return
    numbers["rows"] = mine.model_dump(mode="json")
    yield f"of the {counted(mine.rows, 'row')} that its steps read, {mine.counted} count in its weight"
    if mine.repeated:
        shown = counted(mine.opened, "row")
        yield f"{mine.repeated} of the {shown} that it showed repeat others, as a sample of all that it read"
    if mine.earlier:
        yield f"a row counts for whoever enrolled it first; some of these are rows of {', '.join(mine.earlier)}"


def _marginals(game: GameRecord, player: int, numbers: dict[str, Any]) -> Iterator[str]:
    """What joining each evaluated coalition was worth: the score is a weighted mean of these."""
    values = {coalition.members: coalition.value_nanos for coalition in game.coalitions}
    gains = {
        members: value - values[without]
        for members, value in values.items()
        if player in members and (without := tuple(m for m in members if m != player)) in values
    }
    numbers["marginals"] = [{"joined": list(m), "gainNanos": gain} for m, gain in gains.items()]
    if gains:
        best, worst = max(gains.values()), min(gains.values())
        yield (
            f"{counted(len(game.coalitions), 'coalition')} of {counted(len(game.players), 'trainer')} evaluated "
            f"({game.method}); "
            f"joining them, this delta gained between {worst / NANOS:+.6f} and {best / NANOS:+.6f} nats"
        )


def _along_step(game: GameRecord, player: int, numbers: dict[str, Any]) -> Iterator[str]:
    """What this delta's part of the round's step was worth, pass by pass: the score is the value of its last pass."""
    numbers["passes"] = []
    for number, record in enumerate(game.passes, start=1):
        found = path_pass(record)
        if player not in found.members:
            yield f"in pass {number} it had left: its value was not positive, and the others were valued without it"
            return
        place = found.members.index(player)
        value, part = path_values(found)[place], found.units[place] / STEP_UNITS
        numbers["passes"].append(
            {"valueNanos": value, "gainNanos": found.gain_nanos, "part": part, "slopesNanos": found.slopes_nanos[place]}
        )
        slopes = ", ".join(f"{slope / NANOS:+.6f}" for slope in found.slopes_nanos[place])
        yield (
            f"pass {number}: {len(found.members)} of {counted(len(game.players), 'delta')} made a step that gained "
            f"{found.gain_nanos / NANOS:+.6f} nats; this one was {part:.2%} of it, by its rows and the cap on norms"
        )
        yield f"along its part the loss fell by {slopes} nats per step: {value / NANOS:+.6f} of the gain are its own"


def _pay(
    facts: RoundFacts,
    spec: TaskSpec,
    leaves: Sequence[SettlementLeaf] | None,
    trainer: Address,
    numbers: dict[str, Any],
    money: Money,
) -> Iterator[str]:
    posted = facts.standing
    if posted is None or leaves is None:
        yield "no settlement stands, or its leaves are not in the store: nothing was earned yet"
        return
    place = next((i for i, leaf in enumerate(leaves) if leaf.trainer == trainer), None)
    if place is None:
        yield "the settlement has no leaf of it, although it committed: what it pays goes to others"
        return
    leaf = leaves[place]
    rule = payouts_of(spec.rewards, leaves, posted.settlement.improvement_nanos, scored=facts.scored)
    line = rule.lines[place]
    numbers["payout"] = {
        "verdict": leaf.verdict.name.lower(),
        "scoreNanos": leaf.score_nanos,
        "stderrNanos": leaf.stderr_nanos,
        "discountBps": leaf.discount_bps,
        "released": rule.released,
        "floor": line.floor,
        "pool": rule.pool,
        "weight": line.weight,
        "totalWeight": rule.total_weight,
        "quotient": line.quotient,
        "remainder": line.remainder,
        "unit": line.unit,
        "cap": rule.cap,
        "payout": line.payout,
        "leaf": place,
        "proof": [hex_of(node) for node in leaves_tree(leaves).proof(place)],
        "root": hex_of(posted.settlement.leaves_root),
    }
    yield (
        f"settled as {leaf.verdict.name.lower()} with score {leaf.score_nanos / NANOS:+.9f} ± "
        f"{leaf.stderr_nanos / NANOS:.9f} nats, in transaction {posted.event.transaction}"
    )
    gained = posted.settlement.improvement_nanos / NANOS
    yield f"the improvement of {gained:+.9f} nats released {money.exact(rule.released)}"
    yield f"of that {money.exact(line.floor)} as floor; {money.exact(rule.pool)} were left for scores"
    if spec.discount_bps(trainer):
        yield "the trainer owns the model and works without pay, as the task says: others share the pool"
    share = f"{money.exact(line.quotient)} and {money.exact(line.unit)} for the remainder"
    yield f"weight {line.weight} of {rule.total_weight} in all: {share}"
    capped = f", capped at {money.exact(rule.cap)}" if line.payout == rule.cap else ""
    yield f"payout {money.exact(line.payout)}{capped}"


def _money(facts: RoundFacts, trainer: Address, numbers: dict[str, Any], paid: Money, staked: Money) -> Iterator[str]:
    claimed = next((e for e in facts.named("Claimed") if e.args["trainer"] == trainer), None)
    numbers["claimed"] = claimed.args["amount"] if claimed else 0
    if claimed:
        yield f"claimed {paid.exact(claimed.args['amount'])} in transaction {claimed.transaction}"
    for event in facts.named("TrainerSlashed", "BondForfeited"):
        if event.args["trainer"] == trainer:
            numbers["slashed"] = numbers.get("slashed", 0) + event.args["amount"]
            yield f"lost {staked.exact(event.args['amount'])} of its stake in transaction {event.transaction}"
