"""The contracts' events as typed records, and the reader that finds them."""

from deltaproof.chain.events.base import ContractEvent, LoggedEvent, RoundEvent, TaskEvent
from deltaproof.chain.events.reader import LogReader

__all__ = ["ContractEvent", "LogReader", "LoggedEvent", "RoundEvent", "TaskEvent"]
