"""The contracts' events as typed records, and the reader that finds them."""

from protocol.chain.events.base import Event, LoggedEvent, RoundEvent, TaskEvent
from protocol.chain.events.reader import LogReader

__all__ = ["Event", "LogReader", "LoggedEvent", "RoundEvent", "TaskEvent"]
