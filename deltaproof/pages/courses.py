"""The course of a task in short, for its page: sums of every round and trainer, and what its charts draw.

A page of 1,000 rounds and 200 trainers needs neither each trainer's every round nor the 30 MB that they take; those are
on the rounds' own pages, and `deltaproof history` writes all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["DRAWN_ROUNDS", "DRAWN_TRAINERS", "in_short"]

Json = dict[str, Any]

DRAWN_ROUNDS = 100
"""The last of a task, in its charts."""
DRAWN_TRAINERS = 11
"""Those who earned most, in its charts: one less than a legend can name."""


def in_short(history: Sequence[Json]) -> Json:
    """From rounds as `Historian.overview` tells them: `history`, a line for each round; `people`, one for each trainer,
    in the order in which they came; `drawn`, the last rounds of those who earned most."""
    people: dict[str, Json] = {}
    lines = []
    for entry in history:
        accepted = 0
        for leaf in entry["trainers"]:
            mine = people.setdefault(
                leaf["trainer"],
                {"trainer": leaf["trainer"], "rounds": 0, "accepted": 0, "contributionNanos": 0, "payout": 0},
            )
            mine["rounds"] += 1
            mine["payout"] += leaf["payout"] or 0
            if leaf["verdict"] == "accepted":
                accepted += 1
                mine["accepted"] += 1
                mine["contributionNanos"] += leaf["scoreNanos"] or 0
        lines.append({**entry, "trainers": len(entry["trainers"]), "accepted": accepted})
    return {"history": lines, "people": list(people.values()), "drawn": _drawn(history, people)}


def _drawn(history: Sequence[Json], people: dict[str, Json]) -> Json:
    top = sorted(people, key=lambda name: -people[name]["payout"])[:DRAWN_TRAINERS]
    places = {name: place for place, name in enumerate(top)}
    last = history[-DRAWN_ROUNDS:]
    pay = [[0] * len(last) for _ in top]
    others = [0] * len(last)
    contributions = []
    for at, entry in enumerate(last):
        for leaf in entry["trainers"]:
            place = places.get(leaf["trainer"])
            if place is None:
                others[at] += leaf["payout"] or 0
                continue
            pay[place][at] = leaf["payout"] or 0
            if leaf["verdict"] == "accepted" and leaf["scoreNanos"] is not None:
                contributions.append([at, leaf["scoreNanos"], leaf["stderrNanos"], place])
    return {
        "rounds": [entry["round"] for entry in last],
        "trainers": top,
        "pay": pay,
        "others": len(people) - len(top),
        "othersPay": others,
        "contributions": contributions,
    }
