"""An attestation of the largest round that a task's terms allow is read by everybody; what is larger, by nobody."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from deltaproof.errors import ArtifactTooLarge
from deltaproof.protocol import rules
from deltaproof.protocol.outcome.attestation import (
    Attestation,
    CheckRecord,
    CoalitionValue,
    EmulatorScore,
    GameRecord,
    PathRecord,
    PathShare,
    ReadRecord,
    RowRecord,
    TrainerFinding,
)
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec, spec_problems
from deltaproof.protocol.types import Digest32, address
from deltaproof.protocol.wire.documents import Record
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.store import open_store
from tests.protocol.test_spec import TOML

LAST, UINT32, FLOAT = rules.MAX_LEAVES - 1, 2**32 - 1, -2.2250738585072014e-308
INT64, UINT64 = -(2**63), 2**64 - 1
ROOT = "0x" + "ab" * 32
WIDEST = "\U00020000" * rules.MAX_MESSAGE
"""As many characters, of four bytes, as a message takes."""
CHECK = CheckRecord(step=UINT32, check="gradient", passed=False, measured=FLOAT, message="")
READ = ReadRecord(step=UINT32, receipt=Digest32(bytes(32)))
PAST_LIMIT = 16 * 2**20
"""What readers once took of any attestation: full rounds of ordinary tasks make more."""


def name(number: int) -> Any:
    return address(number.to_bytes(20, "big"))


def finding(number: int, steps: int) -> TrainerFinding:
    """As wide as a judge can make it: it stops at the first check that fails."""
    failed = CheckRecord(step=UINT32, check="x" * 64, passed=False, measured=FLOAT, message=WIDEST)
    submission = CheckRecord(step=-1, check="drift", passed=True, measured=FLOAT, message="y" * 200)
    return TrainerFinding(
        trainer=name(number), verdict=Verdict.REJECTED, score_nanos=INT64, stderr_nanos=UINT64,
        discount_bps=rules.BPS, checks=(*[CHECK] * steps, submission, failed), reads=(READ,) * (steps + 1),
    )  # fmt: skip


def rows(number: int) -> RowRecord:
    earlier = tuple(name(n) for n in range(rules.MAX_EARLIER))
    return RowRecord(trainer=name(number), rows=UINT32, counted=UINT32, opened=UINT32, repeated=UINT32, earlier=earlier)


def game(trainers: int, **tables: Any) -> GameRecord:
    emulators = (EmulatorScore(emulator="e" * 40, loss=FLOAT, accuracy=FLOAT),) * 16
    return GameRecord(
        players=tuple(name(n) for n in range(trainers)), start_loss=FLOAT, start_accuracy=FLOAT, end_loss=FLOAT,
        end_accuracy=FLOAT, method="m" * 64, rows=tuple(rows(n) for n in range(trainers)), emulators=emulators,
        **{"coalitions": (), **tables},
    )  # fmt: skip


def attested(findings: tuple[TrainerFinding, ...], played: GameRecord | None) -> Attestation:
    return Attestation(
        task=UINT64, round=UINT32, verifier=name(0), findings=findings, game=played, improvement_nanos=INT64,
        next_start_digest=Digest32(bytes(32)),
    )  # fmt: skip


def spec(**changes: object) -> TaskSpec:
    return parse_spec(draft(**changes))


def draft(**changes: object) -> dict[str, Any]:
    tables = tomllib.loads(TOML)
    widest = {"training__steps": 100_000, "verification__max_trainers": rules.MAX_LEAVES}
    for key, value in {**widest, **changes}.items():
        section, _, entry = key.partition("__")
        tables.setdefault(section, {})[entry] = value
    return tables


PATHS = {"scoring__index": "aumann_shapley", "aggregation__weights": "rows"}


@pytest.mark.parametrize(("trainers", "samples"), [(1, 0), (7, 24), (3, 143)])
def test_widest_attestation_is_within_what_readers_take(trainers: int, samples: int) -> None:
    findings = tuple(finding(n, samples + 2) for n in range(trainers))
    share = PathShare(player=LAST, units=rules.STEP_UNITS, slopes_nanos=(INT64,) * len(rules.PATH_NODES))
    passes = (PathRecord(gain_nanos=INT64, shares=(share,) * trainers),) * rules.PATH_PASSES
    size = len(attested(findings, game(trainers, passes=passes)).to_document())
    assert size <= attestation_bytes(spec(verification__samples=samples, **PATHS), trainers)
    each = CoalitionValue(members=(LAST,) * trainers, value_nanos=INT64)
    size = len(attested(findings, game(trainers, coalitions=(each,) * 258)).to_document())
    assert (
        size <= attestation_bytes(spec(verification__samples=samples), trainers) + 258 * rules.ATTESTED_COALITION_BYTES
    )


@pytest.mark.parametrize(
    ("record", "most"),
    [
        ([CHECK, READ], rules.ATTESTED_STEP_BYTES),
        ([PathShare(player=LAST, units=rules.STEP_UNITS, slopes_nanos=(INT64,) * 4)], rules.ATTESTED_SLOPES_BYTES),
        ([CoalitionValue(members=(), value_nanos=INT64)], rules.ATTESTED_COALITION_BYTES),
        ([finding(LAST, 0), rows(LAST)], rules.ATTESTED_TRAINER_BYTES - 45),  # besides, its name among the players
    ],
)
def test_each_part_takes_what_the_rules_say(record: list[Record], most: int) -> None:
    assert sum(len(canonical_json(part.model_dump(mode="json"))) + 1 for part in record) <= most


def test_full_rounds_attestation_is_past_the_old_limit_and_read_by_its_round_alone(tmp_path: Path) -> None:
    terms, store = spec(verification__samples=24, **PATHS), open_store(str(tmp_path))
    refused, trainers = finding(0, 0), 2_100
    document = attested(tuple(refused.model_copy(update={"trainer": name(n)}) for n in range(trainers)), None)
    digest = store.put_attestation(document)
    assert PAST_LIMIT < len(document.to_document()) < attestation_bytes(terms, trainers)
    assert store.get_attestation(Attestation, digest, attestation_bytes(terms, trainers)) == document
    with pytest.raises(ArtifactTooLarge):  # what seven trainers cannot have made is a liar's
        store.get_attestation(Attestation, digest, attestation_bytes(terms, 7))


def test_terms_under_which_a_full_round_could_not_be_settled_are_refused() -> None:
    for changes, most in ((PATHS, 229), ({"scoring__budget": 256}, 143)):
        fits = spec(verification__samples=most, **changes)
        assert attestation_bytes(fits, rules.MAX_LEAVES) <= rules.MAX_ATTESTATION_BYTES
        (problem,) = spec_problems(draft(verification__samples=most + 1, **changes))
        assert problem.key == "verification.samples"
        assert "keep it from being settled" in problem.what
        assert problem.remedy == f"lower it to {most}, or lower max_trainers"
    (problem,) = spec_problems(draft(scoring__budget=2**16, verification__samples=0))
    assert problem.remedy == "lower it, scoring.budget or max_trainers"
    few = spec(scoring__budget=2**16, verification__samples=0, verification__max_trainers=64)
    assert few.verification.max_trainers == 64, "few trainers make small attestations"
    named = spec(scoring__budget=2**16, verification__samples=100, data__roots=[ROOT, "0x" + "cd" * 32])
    assert named.scoring.budget == 2**16, "where roots are named, nobody else plays"
