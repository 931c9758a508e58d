"""A verifier's word that it has sealed a report about the trainers it was drawn for (`protocol.outcome.reports`)."""

from __future__ import annotations

from deltaproof.errors import CryptoError
from deltaproof.protocol.types import Address, Digest32, DigestField
from deltaproof.protocol.wire.documents import Document
from deltaproof.store.permits import PermitDomain
from deltaproof.store.statements import Statement

__all__ = ["ReportSeal"]

MAX_SEAL_BYTES = 1_024


class ReportSeal(Statement, Document, kind="report-seal", max_bytes=MAX_SEAL_BYTES):
    """The digest of a report that its verifier will show. The challenge seed names task and round."""

    SIGNED_AS = "deltaproof report"
    SIGNED = "ReportSeal(address account,bytes32 challenge_seed,bytes32 report)"

    challenge_seed: DigestField
    report: DigestField
    """Digest of the report, as `Document.digest` gives it."""

    def check(self, domain: PermitDomain, account: Address, challenge_seed: Digest32) -> None:
        """Raises CryptoError unless this account sealed it for this round of this deployment."""
        if (self.account, self.challenge_seed) != (account, challenge_seed):
            raise CryptoError("the seal is another account's or round's")
        self.check_signature(domain)
