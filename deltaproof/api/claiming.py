"""Pay of a trainer or verifier, claimed by hand: `deltaproof claim` and `Task.claim`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deltaproof.api.connecting import stores
from deltaproof.chain import Gateway
from deltaproof.chain.claims import Payment, Tried, claim_all, no_claim_kept
from deltaproof.protocol.types import Address, TaskId
from deltaproof.reporting import Reporter
from trainer.keeping import kept_claims

__all__ = ["claim_by_hand"]


def claim_by_hand(
    gateway: Gateway, store: str, tasks: Iterable[int], payee: Address, home: Path | None, report: Reporter
) -> Tried[Payment]:
    """Claim rewards, bases and fees of all ended rounds of `tasks` for `payee`.

    `store` as `--store` says it; empty for what each task announces. `home`: of a trainer or verifier, whose kept
    leaves count as well, so that no store can hide a pay. Raises StoreUnavailable, ChainError.
    """
    kept = kept_claims(home, gateway, report) if home is not None and payee == gateway.account else no_claim_kept
    return claim_all(gateway, stores(store, gateway, home), map(TaskId, tasks), payee, kept)
