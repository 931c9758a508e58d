"""`task show` tells every term: whatever key of a spec changes, its words do."""

from __future__ import annotations

import pytest

from deltaproof.chain.contracts.money import Money
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.sponsor.amounts import Tokens
from deltaproof.sponsor.wording import terms_in_words
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from tests.protocol.every_key import READERS
from tests.protocol.test_every_key import changed, spec_of

TOKENS = Tokens(Money("PAY", 6), Money("STK", 18))
TOLD_ABOVE = {"task.name", "task.description"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> TaskSpec:
    folder = minimal_model(tmp_path_factory.mktemp("wording") / "bert", "bert")
    return complete_spec(f"path:{folder}", "sequence-classification")


def words(spec: TaskSpec) -> list[str]:
    return list(terms_in_words(spec, TOKENS))


def test_every_key_changes_the_words_of_its_own_line_alone(base: TaskSpec) -> None:
    silent, loud = [], []
    for key, row in READERS.items():
        given = changed(base.to_json_value(), row.given)
        one = words(spec_of(given, row))
        two = words(spec_of(changed(given, {key: row.value}), row.__class__(row.value, row.observe, unchecked=True)))
        differing = set(one) ^ set(two)
        if not differing and key not in TOLD_ABOVE:
            silent.append(key)
        if len(differing) > 2 and not key.endswith((".name", ".numeric", ".index", ".rule")):
            loud.append(key)  # these decide which other keys count
    assert not silent
    assert not loud


def test_amounts_shares_and_times_are_written_as_people_write_them(base: TaskSpec) -> None:
    told = "\n".join(words(base))
    assert "budget per round: 1 PAY (Most that the trainers of one round earn together)" in told
    assert "slash bps: 50 % (Of the locked stake, lost for a rejected or withheld round or a proven fault)" in told
    assert "attest commit: 1 min (For replaying, scoring and sealing what was found)" in told
    assert "tolerance nanos: 0.001 nats" in told
    assert "smallest units" not in told
    hostile = base.model_copy(update={"method": base.method.model_copy(update={"name": "lora\x1b[2J\n\u202eevil"})})
    assert "name: lora\ufffd[2J\ufffd\ufffdevil (" in "\n".join(words(hostile)), "a sponsor's text moves the terminal"
    assert "momentum:" not in told, "a key that nothing of this task reads"
