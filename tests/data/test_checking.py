"""What a shard holds is counted, and what others see of it is what draws and batches really open."""

from __future__ import annotations

from hashlib import sha256
from typing import get_args

import pytest

from deltaproof.data.checking import look_into
from deltaproof.data.visibility import READERS, exposure
from deltaproof.protocol.draws.order import BatchOrder, order_key
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.terms.spec import DataSection, ModelSection, TaskSpec
from deltaproof.protocol.types import Digest32, address
from deltaproof.tuning.base_models.loading import row_reader
from deltaproof.tuning.base_models.presets import complete_spec


def test_contents_of_a_shard_are_counted(sections: dict[str, ModelSection]) -> None:
    section = sections["sequence-classification"]
    texts = [("A fine  film", 1), ("a FINE film", 1), ("a fine film", 0), ("x" * 50, 0), ("A fine  film", 1), ("no", 7)]
    rows = [canonical_row({"text": text, "label": label}) for text, label in texts]
    found = look_into(rows, section, row_reader(section), 8192)
    assert (found.rows, found.distinct, found.alike, found.contradicting) == (6, 5, 1, 1)
    assert found.labels == {0: 2, 1: 2, 7: 1}
    assert found.tokens is not None
    assert (found.tokens.least, found.tokens.most, found.cut) == (11, 50, 1)
    assert [str(bad) for bad in found.bad] == ["row 4: label must be 0 to 1, not 7"]


def test_rows_that_are_too_long_or_no_rows_are_told(sections: dict[str, ModelSection]) -> None:
    section = sections["causal-lm"]
    rows = [canonical_row({"text": "y" * 99}), canonical_row({"txt": "a"}), b"not json"]
    found = look_into(rows, section, row_reader(section), 100)
    assert [bad.where for bad in found.bad] == ["row 0", "row 1", "row 2"]
    assert "110 bytes, and the task takes 100" in found.bad[0].why


def spec(sections: dict[str, ModelSection], **training: int) -> TaskSpec:
    rounds = training.pop("rounds")
    overrides = {
        "training": training,
        "rewards": {"rounds": rounds},
        "validation": {"commitments": ["0x" + "00" * 32] * (rounds + 1)},
    }
    return complete_spec(sections["sequence-classification"].source, "sequence-classification", overrides)


@pytest.mark.parametrize(
    ("rows", "steps", "batch_size", "rounds"), [(400, 30, 4, 3), (50, 30, 4, 2), (7, 3, 2, 1), (1000, 1, 8, 2)]
)
def test_opened_rows_are_as_many_as_draws_open_in_the_mean(
    sections: dict[str, ModelSection], rows: int, steps: int, batch_size: int, rounds: int
) -> None:
    task = spec(sections, steps=steps, batch_size=batch_size, rounds=rounds)
    told = exposure(task, rows)
    trials = 60
    in_all = in_first = 0
    for trial in range(trials):
        seen: set[int] = set()
        for round_ in range(1, rounds + 1):
            seed = Digest32(sha256(f"{trial}/{round_}".encode()).digest())
            order = BatchOrder(order_key(seed, 1, round_, bytes(20)), rows, batch_size)
            opened = draw_samples(seed, 1, round_, address(bytes(20)), steps=steps, extra=task.verification.samples)
            assert len(opened) == told.steps_per_round
            seen |= {row for step in opened for row in order.batch(step)}
            in_first += len(seen) if round_ == 1 else 0
        in_all += len(seen)
    assert in_first / trials == pytest.approx(told.expected_in_a_round, rel=0.04)
    assert in_all / trials == pytest.approx(told.expected_in_all, rel=0.04)
    assert (told.readers, told.delta_readers) == ("everybody, for ever", "everybody")


def test_readers_are_told_for_every_visibility() -> None:
    assert READERS.keys() == set(get_args(DataSection.model_fields["visibility"].annotation))
