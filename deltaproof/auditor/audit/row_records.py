"""How many rows of each trainer count, from the rows that openings show, as the model's tokeniser reads them."""

from __future__ import annotations

from collections.abc import Iterator

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.deltas import read_by
from deltaproof.auditor.audit.valuation import attested_in
from deltaproof.auditor.facts.sharing import enrolment_rank, shard_in
from deltaproof.errors import DeltaproofError
from deltaproof.protocol.outcome.attestation import RowRecord
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address
from incentives.row_evidence import RowClaim
from incentives.scoring import row_records
from incentives.steps import rows_within_reach

__all__ = ["check_row_records"]


def check_row_records(case: RoundCase) -> Iterator[Check]:
    """Compare the opened rows again: which of them earlier names had, and how many rows count in each weight."""
    if case.spec is None or case.artifacts is None:
        return
    found: dict[tuple[Address, ...], tuple[RowRecord, ...]] = {}
    for verifier, document in case.attestations.items():
        if document.game is None:
            continue
        subject = attested_in(case, verifier)
        accepted = tuple(f.trainer for f in document.findings if f.verdict is Verdict.ACCEPTED)
        if case.spec.scoring.rows == "distinct" and not case.options.models:
            yield subject.unchecked("counted rows", "no model was loaded, whose tokeniser says what it reads of a row")
            continue
        try:
            if accepted not in found:
                found[accepted] = _records(case, case.spec, accepted)
        except DeltaproofError as error:
            yield subject.unchecked("counted rows", str(error))
            continue
        yield subject.equal("counted rows", found[accepted], document.game.rows)


def _records(case: RoundCase, spec: TaskSpec, accepted: tuple[Address, ...]) -> tuple[RowRecord, ...]:
    if spec.scoring.rows != "distinct":
        return ()
    claims = [
        RowClaim(
            enrolment_rank(case.facts, trainer),
            rows_within_reach(spec, shard_in(case.facts, trainer).rows),
            read_by(case, spec, trainer),
        )
        for trainer in accepted
    ]
    return row_records(accepted, claims)
