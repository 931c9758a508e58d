"""What a check says of itself."""

from __future__ import annotations

import pytest

from deltaproof.auditor.audit.check import Check, Status
from deltaproof.auditor.audit.report import unseen
from deltaproof.errors import ArtifactSealed, ChainError, StoreUnavailable

SEALED = (
    ArtifactSealed("envelopes/ab/0x11", ArtifactSealed.OPENINGS, "for none of the keys held here"),
    ArtifactSealed("adapters", ArtifactSealed.WEIGHTS, "for its participants"),
    ArtifactSealed("sealed/ab/0", ArtifactSealed.WEIGHTS, "for its participants"),
)


def unchecked(reason: str) -> Check:
    return Check("losses", Status.NOT_CHECKABLE, 1, reason=reason)


@pytest.mark.parametrize("error", SEALED)
def test_what_is_sealed_is_no_fault_of_anybody(error: ArtifactSealed) -> None:
    assert unchecked(str(error)).is_sealed
    assert unchecked(f"of 0x{'Ab' * 20}, the opening of step 0: {error}").is_sealed
    assert unseen([unchecked(str(error))])


@pytest.mark.parametrize("error", SEALED)
def test_store_or_node_that_refuses_in_the_words_of_a_seal_is_told(error: ArtifactSealed) -> None:
    """Attack: hide an artifact of a public task, and have an audit call it sealed, which is no fault of anybody."""
    for refusal in (
        StoreUnavailable("tensors/ab", f"http://127.0.0.1:9 refuses: {error} (403)"),
        ChainError(f"eth_getBlockByNumber: {error}"),
    ):
        assert not unchecked(str(refusal)).is_sealed
        assert not unseen([unchecked(str(refusal))])
