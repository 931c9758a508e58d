"""Stakes and credits: the sum of the registry's events is what the registry says everybody has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.facts.chainview import ChainView, Question, token_balance
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.enums import Role
from deltaproof.errors import ChainError
from deltaproof.protocol.types import Address

__all__ = ["StakeBook", "check_stakes"]


@dataclass
class StakeBook:
    """Every account's stake by role, and its credit, as events add up."""

    total: dict[tuple[Address, int], int] = field(default_factory=lambda: defaultdict(int))
    locked: dict[tuple[Address, int], int] = field(default_factory=lambda: defaultdict(int))
    leaving: dict[tuple[Address, int], tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))
    """Stake on its way out, and from when on it may leave, seconds since the epoch."""
    credit: dict[Address, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def of(cls, events: Sequence[Event]) -> StakeBook:
        """The book after these events, which come in the chain's order."""
        book = cls()
        for event in events:
            book._apply(event)
        return book

    def _apply(self, event: Event) -> None:
        args = event.args
        who = (Address(args.get("account", "")), int(args.get("role", 0)))
        match event.name:
            case "StakeDeposited":
                self.total[who] += args["amount"]
            case "UnbondingStarted":
                self.leaving[who] = (self.leaving[who][0] + args["amount"], args["withdrawable_at"])
            case "StakeWithdrawn":
                self.total[who] -= args["amount"]
                self.leaving[who] = (0, 0)
            case "StakeLocked":
                self.locked[who] += args["amount"]
            case "StakeUnlocked":
                self.locked[who] -= args["amount"]
            case "StakeSlashed":
                self.total[who] -= args["amount"]
                self.locked[who] -= args["amount"]
                self.credit[args["beneficiary"]] += args["reward"]
            case "StakeFined":
                self.total[who] -= args["amount"]
                leaving, when = self.leaving[who]
                self.leaving[who] = (min(leaving, self.total[who] - self.locked[who]), when)
            case "CreditMoved":
                self.credit[args["from"]] -= args["amount"]
                if args["to"] != BURN_ADDRESS:
                    self.credit[args["to"]] += args["amount"]
            case "CreditWithdrawn":
                self.credit[args["account"]] -= args["amount"]


BURN_ADDRESS = Address("0x000000000000000000000000000000000000dEaD")


def check_stakes(index: Index, view: ChainView | None, subject: Subject) -> Iterator[Check]:
    """One check per account and role that ever staked, one per credit, one for the tokens behind them."""
    book = StakeBook.of(index.events(contract="registry"))
    negative = [account for (account, _), amount in [*book.total.items(), *book.locked.items()] if amount < 0]
    yield subject.that("stakes", not negative, f"{', '.join(negative)} lost more stake than it had")
    if view is None:
        yield subject.unchecked("stake state", "no RPC endpoint to ask")
        return
    registry = index.deployment.contracts["registry"]
    accounts, creditors = sorted(book.total), sorted(book.credit)
    try:
        token = view.ask([Question("registry", "token")])[0]
        stakes = view.ask([Question("registry", "stakeOf", key) for key in accounts])
        credits_ = view.ask([Question("registry", "creditOf", (account,)) for account in creditors])
        held = view.ask([token_balance(token, registry)])[0]
    except ChainError as error:
        yield subject.unchecked("stake state", f"the endpoint keeps no state of that block: {error}")
        return
    for (account, role), stored in zip(accounts, stakes, strict=True):
        about = subject.of(participant=account)
        name = f"stake as {Role(role).name.lower()}"
        yield about.equal(name, stored["total"], book.total[account, role])
        yield about.equal(f"locked {name}", stored["locked"], book.locked[account, role])
        leaving = (stored["unbonding"], stored["withdrawable_at"])
        yield about.equal(f"leaving {name}", leaving, book.leaving[account, role])
    for account, credit in zip(creditors, credits_, strict=True):
        yield subject.of(participant=account).equal("slash credit", credit, book.credit[account])
    owed = sum(book.total.values()) + sum(book.credit.values())
    yield subject.that(
        "stake tokens", held >= owed, "the registry holds less than it owes", expected=f"at least {owed}", actual=held
    )
