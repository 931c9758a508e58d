"""A store that does not answer for one artifact: nobody's fault, and no end of an audit."""

from __future__ import annotations

import pytest

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check, Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.index.reader import Index
from deltaproof.errors import StoreUnavailable
from deltaproof.store import ArtifactStore
from tests.auditor.colluding import Collusion
from tests.auditor.forgery import Overlay

KINDS = ("blob", "tensors", "openings", "attestations", "validation", "proposals", "signed")


class Silent(Overlay):
    """Does not answer for what lies under one path."""

    silent = ""

    def read(self, path: str, max_bytes: int) -> bytes:
        if path.startswith(self.silent):
            raise StoreUnavailable(path, "permission denied")
        return super().read(path, max_bytes)


def audited(collusion: Collusion, silent: str) -> list[Check]:
    backend = Silent(collusion.world.store_folder, {}, {})
    backend.silent = silent
    source = AuditSource(Index(collusion.engine), ArtifactStore(backend), None)
    options = AuditOptions(replays=1, rescore=True, official_replays=True)
    return list(run_audit(source, options).checks)


@pytest.mark.parametrize("kind", KINDS)
def test_artifact_that_the_store_does_not_give_is_not_checkable(collusion: Collusion, kind: str) -> None:
    path = collusion.path_of(kind)
    checks = audited(collusion, path)
    assert not [str(check) for check in checks if check.status is Status.FAIL]
    assert [check for check in checks if check.status is Status.NOT_CHECKABLE]
