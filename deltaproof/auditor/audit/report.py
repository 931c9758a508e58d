"""The audit's outcome as one document: what was checked, with what, and how it came out; signed if a key is given."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct

from deltaproof.auditor.audit.check import SEALED_ROWS, Check, Status, count
from deltaproof.auditor.audit.depth import blind_to
from deltaproof.chain.rpc.remote_signer import Signer
from deltaproof.errors import CryptoError, EncodingError
from deltaproof.protocol.types import Address, Digest32, address
from deltaproof.protocol.wire.encoding import document_digest, parse_json
from deltaproof.reporting import counted
from deltaproof.store.paths import Kind

__all__ = ["AuditReport", "sealed_adapters", "sealed_rows", "signer_of", "unseen"]

KIND = "audit-report"
MAX_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True)
class AuditReport:
    """Everything a second person needs to repeat the audit and to compare."""

    chain: Mapping[str, Any]
    options: Mapping[str, Any]
    checks: Sequence[Check]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not any(check.status is Status.FAIL for check in self.checks)

    def records(self) -> list[dict[str, Any]]:
        """One plain row for each check, for tables and data frames."""
        return [check.to_json() for check in self.checks]

    @property
    def sealed_rows(self) -> int:
        """Rows of drawn steps that are sealed for others: what this audit did not see of the work."""
        return sealed_rows(self.checks)

    @property
    def sealed_adapters(self) -> int:
        """Deltas and adapters that are sealed for others: what this audit did not see of what came of the work."""
        return sealed_adapters(self.checks)

    def content(self) -> dict[str, Any]:
        """What is signed: no times, so that equal audits have equal reports."""
        totals = count(self.checks)
        return {
            "chain": dict(self.chain),
            "options": dict(self.options),
            "blindTo": blind_to(self.options),
            "passed": totals[Status.PASS],
            "failed": totals[Status.FAIL],
            "notCheckable": totals[Status.NOT_CHECKABLE],
            "sealedRows": self.sealed_rows,
            "sealedAdapters": self.sealed_adapters,
            "checks": self.records(),
        }

    def digest(self) -> Digest32:
        """SHA-256 of the report's canonical document."""
        return document_digest(KIND, self.content())

    def signed(self, account: Signer | None) -> dict[str, Any]:
        """The report with its digest and, with an account, an EIP-191 signature over the digest."""
        digest = self.digest()
        result = {**self.content(), "digest": "0x" + digest.hex()}
        if account is not None:
            signature = account.sign_message(encode_defunct(digest)).signature
            result |= {"signer": account.address, "signature": "0x" + bytes(signature).hex()}
        return result


def sealed_rows(checks: Sequence[Check]) -> int:
    """Rows of drawn steps that are sealed for others."""
    return sum(int(check.expected or 0) for check in checks if check.name == SEALED_ROWS)


def sealed_adapters(checks: Sequence[Check]) -> int:
    """Deltas and adapters that are sealed for others."""
    unseen = (check.artifact or "" for check in checks if check.status is Status.NOT_CHECKABLE)
    return len({artifact for artifact in unseen if artifact.startswith(f"{Kind.SEALED.value}/")})


def unseen(checks: Sequence[Check]) -> list[str]:
    """What is sealed for others, and which checks could not be made for it, as sentences; none if all was visible."""
    rows, adapters = sealed_rows(checks), sealed_adapters(checks)
    lacking = Counter(check.name for check in checks if check.is_sealed and check.name != SEALED_ROWS)
    told = []
    if rows:
        told.append(f"{counted(rows, 'row')} of drawn steps, sealed for the round's verifiers and invited auditors")
    if adapters:
        of_all = counted(adapters, "delta or adapter", "deltas and adapters")
        told.append(f"{of_all}, sealed for the task's participants")
    made = ", ".join(f"{number} × {name}" for name, number in sorted(lacking.items()))
    return [*told, *([f"what depends on these, which is no fault of anybody: {made}"] if made else [])]


def signer_of(data: bytes) -> tuple[AuditReport, Address | None]:
    """A report that somebody hands around, and who signed it (None: nobody).

    Raises EncodingError for what is no report, CryptoError for a digest or signature that does not fit.
    """
    value = parse_json(data, max_bytes=MAX_BYTES, canonical=False)
    if not isinstance(value, dict):
        raise EncodingError("an audit report is a JSON object")
    try:
        checks = [Check.from_json(check) for check in value["checks"]]
        report = AuditReport(value["chain"], value["options"], checks)
        claimed = {name: value[name] for name in report.content()}
    except (KeyError, TypeError, ValueError) as error:
        raise EncodingError(f"not an audit report: {error}") from error
    if json.dumps(claimed, sort_keys=True) != json.dumps(report.content(), sort_keys=True):
        raise CryptoError("the report's totals are not those of its checks")
    if value.get("digest") != "0x" + report.digest().hex():
        raise CryptoError("the report was altered: its digest is another one")
    if "signature" not in value:
        return report, None
    try:
        recovered = Account.recover_message(encode_defunct(report.digest()), signature=value["signature"])
    except Exception as error:  # eth-account raises many kinds for a malformed signature
        raise CryptoError(f"malformed signature: {error}") from error
    if recovered != value.get("signer"):
        raise CryptoError(f"signed by {recovered}, not by {value.get('signer')}")
    return report, address(recovered)
