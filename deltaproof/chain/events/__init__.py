"""The contracts' events as typed records, and the reader that finds them."""

from deltaproof.chain.events.base import Event, LoggedEvent, RoundEvent, TaskEvent
from deltaproof.chain.events.reader import LogReader

__all__ = ["Event", "LogReader", "LoggedEvent", "RoundEvent", "TaskEvent"]
