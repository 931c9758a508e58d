"""A task's terms for somebody with a stake in it: kept at home, so that no store can keep its owner from answering."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from deltaproof.agent.homes import task_folder
from deltaproof.chain import Gateway
from deltaproof.chain.participation import KnownTask, read_task, require_task
from deltaproof.errors import EncodingError
from deltaproof.folders import write_whole
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import TaskId
from deltaproof.store import ArtifactStore

__all__ = ["kept_task"]


def kept_task(gateway: Gateway, store: ArtifactStore, task_id: TaskId, home: Path) -> KnownTask:
    """The task and its spec, from the home; the first time, and if that copy is damaged, from the store.

    Attack: lose the spec, and demand work of whoever starts again. Raises what `read_task` raises.
    """
    require_task(gateway, task_id)
    kept, view = task_folder(home, gateway, task_id) / "spec.document", gateway.task(task_id)
    with suppress(FileNotFoundError, EncodingError):
        spec = TaskSpec.from_document(kept.read_bytes())
        if spec.digest() == view.params.spec_hash:
            return KnownTask(view, spec)
    found = read_task(gateway, store, task_id)
    write_whole(kept, found.spec.to_document())
    return found
