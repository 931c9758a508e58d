"""A verifier's own attestations: on disk before they are sealed on chain, so that a restart reveals what it sealed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import AttestationState
from deltaproof.errors import EncodingError
from deltaproof.folders import write_whole
from deltaproof.protocol.commit.commitments import attestation_hash
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import scores_tree, verdicts_digest
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId

__all__ = ["OwnAttestations"]


class OwnAttestations:
    """By round and by the facts that they judge: when a reorganisation changes those, one more is written beside."""

    def __init__(
        self,
        gateway: Gateway,
        task_id: TaskId,
        account: Address,
        secret: HomeSecret,
        folder: Path,
        require: Callable[[int, str], None],
    ) -> None:
        """`require` raises where the disk has no room for so many bytes, named in words."""
        self._gateway, self._task_id, self._account = gateway, task_id, account
        self._secret, self._folder, self._require = secret, folder, require

    def kept(self, round_: RoundIndex, key: Digest32) -> Attestation | None:
        """What was written of the facts that `case_key` names."""
        return self._read(self._path(round_, key))

    def keep(self, attestation: Attestation, key: Digest32) -> None:
        """Write it, whole or not at all."""
        round_, document = RoundIndex(attestation.round), attestation.to_document()
        self._require(2 * len(document), f"the attestation of round {round_}")
        write_whole(self._path(round_, key), document)

    def of(self, round_: RoundIndex) -> Attestation | None:
        """Of the documents written for a round, the one that was sealed or revealed on chain."""
        on_chain = self._gateway.verifiers.attestation(self._task_id, round_, self._account)
        for path in sorted(self._folder.glob(f"attestation-{round_}-*")):
            kept = self._read(path)
            if kept is None:
                continue
            if on_chain.state == AttestationState.COMMITTED:
                fits = on_chain.digest == self.seal(kept)
            else:
                fields = self.fields(kept)
                fits = (on_chain.digest, on_chain.scores_root) == (fields["verdicts_digest"], fields["scores_root"])
            if fits:
                return kept
        return None

    def seal(self, attestation: Attestation) -> Digest32:
        """What is committed on chain before anybody reveals."""
        context = self._gateway.domain(self._task_id, RoundIndex(attestation.round))
        return attestation_hash(context, self._account, **self.fields(attestation), salt=self.salt(attestation))

    def fields(self, attestation: Attestation) -> dict[str, Digest32]:
        """What is revealed on chain, by name."""
        leaves = attestation.leaves()
        return {
            "verdicts_digest": verdicts_digest(leaves),
            "scores_root": scores_tree(leaves).root,
            "artifact_digest": attestation.digest(),
        }

    def salt(self, attestation: Attestation) -> Digest32:
        """Of the seal; another one for each document."""
        task, round_ = self._task_id.to_bytes(8, "big"), attestation.round.to_bytes(4, "big")
        return self._secret.derive("attestation salt", task, round_, attestation.digest())

    def _read(self, path: Path) -> Attestation | None:
        """A damaged one is none: what it was is found again, and others stand beside it."""
        if path.suffix or not path.is_file():
            return None
        try:
            return Attestation.from_document(path.read_bytes())
        except EncodingError:
            return None

    def _path(self, round_: RoundIndex, key: Digest32) -> Path:
        return self._folder / f"attestation-{round_}-{key.hex()[:16]}"
