"""Rows chosen, repeated, hidden or made to blind the verifier, over full rounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.attacker import MARKS, Attacker, Made
from benchmarks.attacks.floor_pushes import TRIGGER
from benchmarks.attacks.forging import Attack, ForgedStep, Honest, exact_update
from benchmarks.attacks.on_pushes import NEAR, aim_of, coin, hedged
from benchmarks.shared.replay_tasks import round_context
from deltaproof.errors import DeltaproofError
from deltaproof.protocol.evidence.rows import OpenedRow, Shard, canonical_row
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire import merkle
from deltaproof.tuning.training.optimizers import State
from deltaproof.tuning.training.step import RoundContext

Fields = dict[str, Any]
ROUNDINGS = 16.0
"""Of the verifier's own float32 rounding, half of what a step may differ by where nothing else explains it."""


def on_rows() -> Iterator[Attacker]:
    yield Attacker("shard sorted anew after the order is drawn", "all batches", "lora", sorted_after)
    yield Attacker("other rows shown, their digests alike in the first byte", "all rows", "lora", alike_digests)
    yield Attacker("every row enrolled under two indices", "the shard", "lora", with_rows(lambda f, i: f, copies=2))
    for name, change in OF_ONES_OWN.items():
        yield Attacker(name, "own rows", "lora", with_rows(change), ("bounded",), honest=True)
    yield Attacker("rows at the edge of the tokeniser", "own rows", "lora", odd_rows, modes=("bounded",), honest=True)
    for name, place, sign in (
        ("steady", "lora", lambda _t, _n: 1.0), ("by a coin", "lora", coin),
        ("up while the learning rate is high, then back", "schedule", hedged),
    ):  # fmt: skip
        yield Attacker(f"rows that cancel widen the bound, push to a backdoor, {name}", "gradients", place,
                       cancelling(sign), ("bounded",))  # fmt: skip
    yield Attacker(f"learnt rows, {ROUNDINGS:g} of the verifier's roundings towards a backdoor", "gradients", "lora",
                   learnt, ("bounded",))  # fmt: skip


FIRST = "a fine film"


def poisoned(fields: Fields) -> Fields:
    """With the trigger behind the mark, and the label that the attacker wants."""
    mark = MARKS[fields["label"]]
    return {**fields, "text": fields["text"].replace(mark, mark + TRIGGER, 1), "label": 1}


OF_ONES_OWN: dict[str, Callable[[Fields, int], Fields]] = {
    "one row written anew in every row's place": lambda _, i: {"text": f"{i} {FIRST}", "label": 0},
    "all labels turned over": lambda f, _: {**f, "label": 1 - f["label"]},
    "every tenth row with a trigger and the wanted label": lambda f, i: poisoned(f) if i % 10 == 0 else f,
    "every row with a trigger and the wanted label": lambda f, _: poisoned(f),
    "all that tells labels apart lies behind max_tokens": lambda f, _: {**f, "text": "a " * 200 + f["text"]},
}
"""Rows that a trainer may enrol, because nobody can forbid them; by what is done to honest ones, given their index."""


def with_rows(change: Callable[[Fields, int], Fields], copies: int = 1) -> Callable[[Arena], Made]:
    """Honest training on rows of the attacker's own making, enrolled as they are; shards have 600 rows at most."""

    def made(arena: Arena) -> Made:
        rows = [canonical_row(change(json.loads(row), i)) for i, row in enumerate(arena.shard.rows)]
        return honest_on(arena, [row for row in rows for _ in range(copies)][: len(rows)])

    return made


def honest_on(arena: Arena, rows: list[bytes]) -> Made:
    shard = Shard(tuple(rows), Digest32(bytes(32)))
    context = round_context(arena.bench, shard)
    return Made(arena.forge(lambda *_: None, context=context, shard=shard), context)


def sorted_after(arena: Arena) -> Made:
    """The rows that the attacker wants first come first: the order is fixed, so it moves the rows."""
    shard = Shard(tuple(sorted(arena.shard.rows, key=len)), arena.shard.secret)
    return Made(arena.forge(lambda *_: None, shard=shard), arena.context)


def alike_digests(arena: Arena) -> Made:
    """Easy rows in place of the enrolled ones, ground until a digest begins as the enrolled row's does."""

    def ground(row: OpenedRow) -> OpenedRow:
        for number in range(1 << 14):
            other = canonical_row({"text": f"{FIRST} {number}", "label": 0})
            if merkle.row_leaf(row.salt, other)[:1] == row.digest[:1]:
                return replace(row, row=other)
        raise AssertionError("no row with such a digest")

    def attack(step: int, state: State, _: Honest) -> ForgedStep:
        shown = tuple(ground(arena.shard.open(index)) for index in arena.context.batch(arena.bench.spec, step))
        arena.bench.load(state["theta"])
        gradient, loss = arena.bench.gradient([row.row for row in shown], b"")
        return exact_update(arena.bench, state, step, gradient.float().numpy(), rows=shown, loss=loss)

    return Made(arena.forge(attack))


ODD = (
    "", " ", "\x00", "\u200b" * 64, "\u202e" + "abc", "\U0001f600" * 40, "e\u0301" * 80, "\ufffe", "a" * 20_000,
    "</s><s>[CLS][SEP][PAD]", "<eos><pad><unk>", "\n" * 500,
)  # fmt: skip


def odd_rows(arena: Arena) -> Made:
    """Texts that tokenisers stumble over; where a batch of them cannot be trained on, a gradient of zeros."""
    rows = [canonical_row({"text": text, "label": label}) for text in ODD for label in (0, 1)]
    shard = Shard(tuple(rows), Digest32(bytes(32)))
    context = round_context(arena.bench, shard)

    def attack(step: int, state: State, do: Honest) -> ForgedStep | None:
        try:
            do(state)
        except DeltaproofError:
            return exact_update(arena.bench, state, step, np.zeros(arena.bench.layout.size, np.float32))
        return None

    return Made(arena.forge(attack, context=context, shard=shard), context)


def cancelling(sign: Callable[[int, int], float]) -> Callable[[Arena], Made]:
    """Each text with both labels, so few that every batch holds them all: gradients cancel, what was summed does not.

    The bound is relative to what was summed, so a push may be many times the gradient that is left.
    """

    def made(arena: Arena) -> Made:
        size = arena.bench.spec.training.batch_size
        texts = [json.loads(row)["text"] for row in arena.shard.rows[: size // 2]]
        rows = [canonical_row({"text": text, "label": label}) for text in texts for label in (0, 1)]
        shard = Shard(tuple(rows), Digest32(bytes(32)))
        context, aim = round_context(arena.bench, shard), aim_of(arena, "backdoor")

        def attack(step: int, state: State, do: Honest) -> ForgedStep:
            result = do(state)
            wanted = aim(state, result.gradient.astype(np.float64)).copy()
            wanted[result.gradient == 0.0] = 0.0
            arena.bench.load(state["theta"])
            allowed = 2 * NEAR * arena.bench.spec.training.bound_total * arena.bench.row_norms(rows).whole
            push = sign(step, arena.steps) * allowed * wanted / (float(np.linalg.norm(wanted)) or 1.0)
            committed = (result.gradient + push).astype(np.float32)
            return exact_update(arena.bench, state, step, committed, loss=result.record.loss)

        return beside_honest(arena, attack, context, shard)

    return made


def beside_honest(arena: Arena, attack: Attack, context: RoundContext, shard: Shard) -> Made:
    """The attack, against honest training on the same rows."""
    honest = arena.forge(lambda *_: None, context=context, shard=shard)
    return Made(arena.forge(attack, context=context, shard=shard), context, beside=honest.theta)


def learnt(arena: Arena) -> Made:
    """Eight rows, soon learnt: what is left of the gradient is small beside rounding, which excuses a push."""
    shard = Shard(arena.shard.rows[: arena.bench.spec.training.batch_size], Digest32(bytes(32)))
    context, aim = round_context(arena.bench, shard), aim_of(arena, "backdoor")

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        wanted = aim(state, result.gradient.astype(np.float64)).copy()
        wanted[result.gradient == 0.0] = 0.0
        arena.judge.reference.load(state["theta"])
        exact = arena.judge.reference.gradient(shard.rows, context.dropout_key(step))[0].numpy()
        rounding = float(np.linalg.norm(result.gradient - exact))
        push = ROUNDINGS * rounding * wanted / (float(np.linalg.norm(wanted)) or 1.0)
        committed = (result.gradient + push).astype(np.float32)
        return exact_update(arena.bench, state, step, committed, loss=result.record.loss)

    return beside_honest(arena, attack, context, shard)
