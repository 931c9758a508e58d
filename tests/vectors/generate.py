"""Writes the JSON vectors that Python and Solidity share, except the payout rule's (`generate_payouts.py`).

    python tests/vectors/generate.py

`bls.json`, `commitments.json`, `settlement.json`, `samples.json`. Digests and addresses are hexadecimal; integers that
may exceed 53 bits are decimal strings, so that any JSON reader keeps them exact.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from deltaproof.protocol.commit import bls
from deltaproof.protocol.commit.commitments import (
    RoundDomain,
    attestation_hash,
    batch_tree,
    commitment_hash,
    validation_commitment,
    vote_hash,
)
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.outcome.settlement import (
    SettlementLeaf,
    Verdict,
    build_settlement,
    leaves_tree,
    scores_tree,
    verdicts_digest,
)
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount, address, address_bytes, hex_of
from deltaproof.protocol.wire.leaftree import counted_root

FOLDER = Path(__file__).resolve().parent


def digest(*name: object) -> Digest32:
    return Digest32(sha256("/".join(map(str, name)).encode()).digest())


def account(*name: object) -> Address:
    return address(digest("account", *name)[:20])


DOMAINS = (
    RoundDomain(31337, account("tasks"), TaskId(1), RoundIndex(1)),
    RoundDomain(1, account("other tasks"), TaskId(2**64 - 1), RoundIndex(2**32 - 1)),
)


def domain_fields(domain: RoundDomain) -> dict[str, object]:
    return {
        "chainId": str(domain.chain_id),
        "tasks": domain.tasks,
        "taskId": str(domain.task_id),
        "round": domain.round,
    }


def commitments() -> dict[str, object]:
    commitment_cases, attestation_cases, vote_cases = [], [], []
    for i, domain in enumerate(DOMAINS):
        trainer, verifier = account("trainer", i), account("verifier", i)
        delta, root, salt = digest("delta", i), digest("root", i), digest("salt", i)
        commitment_cases.append(
            domain_fields(domain)
            | {
                "trainer": trainer,
                "deltaDigest": hex_of(delta),
                "transcriptRoot": hex_of(root),
                "salt": hex_of(salt),
                "commitment": hex_of(commitment_hash(domain, trainer, delta, root, salt)),
            }
        )
        sealed = {
            "verdicts_digest": digest("verdicts", i),
            "scores_root": digest("scores", i),
            "artifact_digest": digest("artifact", i),
            "salt": salt,
        }
        attestation_cases.append(
            domain_fields(domain)
            | {
                "verifier": verifier,
                "verdictsDigest": hex_of(sealed["verdicts_digest"]),
                "scoresRoot": hex_of(sealed["scores_root"]),
                "artifactDigest": hex_of(sealed["artifact_digest"]),
                "salt": hex_of(salt),
                "commitment": hex_of(attestation_hash(domain, verifier, **sealed)),
            }
        )
        jury, case_id, level = account("jury", i), 7 + i, 3 * i
        vote = vote_hash(domain.chain_id, jury, case_id, level, verifier, overturn=bool(i), salt=salt)
        vote_cases.append(
            {
                "chainId": str(domain.chain_id),
                "jury": jury,
                "caseId": str(case_id),
                "level": level,
                "member": verifier,
                "overturn": bool(i),
                "salt": hex_of(salt),
                "commitment": hex_of(vote),
            }
        )
    validation = [
        {
            "digest": hex_of(digest("validation", i)),
            "salt": hex_of(digest("validation salt", i)),
            "commitment": hex_of(validation_commitment(digest("validation", i), digest("validation salt", i))),
        }
        for i in range(2)
    ]
    batches = []
    for size in (1, 2, 3, 5, 8):
        entries = [(3 * i + 1, account("batch", size, i), digest("batch", size, i)) for i in range(size)]
        tree = batch_tree(entries)
        batches.append(
            {
                "indices": [index for index, _, _ in entries],
                "trainers": [trainer for _, trainer, _ in entries],
                "commitments": [hex_of(commitment) for _, _, commitment in entries],
                "root": hex_of(tree.root),
                "countedRoot": hex_of(counted_root(tree.root, size)),
                "proofs": [[hex_of(sibling) for sibling in tree.proof(i)] for i in range(size)],
            }
        )
    return {
        "commitments": commitment_cases,
        "attestations": attestation_cases,
        "votes": vote_cases,
        "validation": validation,
        "batches": batches,
    }


def settlement_leaves(count: int) -> list[SettlementLeaf]:
    trainers = sorted((account("leaf", count, i) for i in range(count)), key=address_bytes)
    leaves = []
    for i, trainer in enumerate(trainers):
        verdict = (Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REJECTED, Verdict.WITHHELD, Verdict.UNREVEALED)[i % 5]
        paid = verdict is Verdict.ACCEPTED
        leaves.append(
            SettlementLeaf(
                trainer=trainer,
                verdict=verdict,
                score_nanos=(-1) ** i * (10**7 + i) if paid else 0,
                stderr_nanos=10**5 * i,
                discount_bps=2_500 * (i % 3),
                payout=TokenAmount(10**18 * (i + 1) + i if paid else 0),
            )
        )
    return leaves


def settlement() -> dict[str, object]:
    extremes = [
        SettlementLeaf(
            trainer=address(bytes(19) + b"\x01"),
            verdict=Verdict.ACCEPTED,
            score_nanos=-(2**63),
            stderr_nanos=2**64 - 1,
            discount_bps=10_000,
            payout=TokenAmount(0),
        ),
        SettlementLeaf(
            trainer=address(b"\xff" * 20),
            verdict=Verdict.ACCEPTED,
            score_nanos=2**63 - 1,
            stderr_nanos=0,
            discount_bps=0,
            payout=TokenAmount(2**128 - 1),
        ),
    ]
    cases = []
    for name, leaves in [(f"{n} trainers", settlement_leaves(n)) for n in (0, 1, 2, 3, 5, 8, 13)] + [
        ("extremes", extremes)
    ]:
        domain, attempt = DOMAINS[len(leaves) % 2], len(leaves) % 3
        made = build_settlement(leaves, digest("next", name), -12_345_678 * len(leaves), digest("evidence", name))
        tree, scores = leaves_tree(leaves), scores_tree(leaves)
        cases.append(
            {
                "name": name,
                **domain_fields(domain),
                "leaves": [
                    {
                        "trainer": leaf.trainer,
                        "verdict": int(leaf.verdict),
                        "scoreNanos": str(leaf.score_nanos),
                        "stderrNanos": str(leaf.stderr_nanos),
                        "discountBps": leaf.discount_bps,
                        "payout": str(leaf.payout),
                    }
                    for leaf in leaves
                ],
                "leavesRoot": hex_of(tree.root),
                "proofs": [[hex_of(sibling) for sibling in tree.proof(i)] for i in range(len(leaves))],
                "scoresRoot": hex_of(scores.root),
                "scoreProofs": [[hex_of(sibling) for sibling in scores.proof(i)] for i in range(len(leaves))],
                "leafCount": made.leaf_count,
                "totalPayout": str(made.total_payout),
                "verdictsDigest": hex_of(verdicts_digest(leaves)),
                "nextStartDigest": hex_of(made.next_start_digest),
                "improvementNanos": str(made.improvement_nanos),
                "artifactDigest": hex_of(made.artifact_digest),
                "attempt": attempt,
                "signingDigest": hex_of(made.signing_digest(domain, attempt)),
            }
        )
    return {"cases": cases}


def wire(point: tuple[int, ...]) -> list[str]:
    return [str(coordinate) for coordinate in point]


def bls_vectors() -> dict[str, object]:
    secrets = [bls.SecretKey.from_seed(digest("bls", i)) for i in range(4)]
    keys = [secret.public_key() for secret in secrets]
    registry, owners = account("registry"), [account("owner", i) for i in range(4)]
    message = digest("message")
    signatures = [secret.sign(bls.SETTLEMENT_DOMAIN, message) for secret in secrets]
    off_subgroup = g2_point_outside_the_subgroup()
    return {
        "settlementDomain": hex_of(bls.SETTLEMENT_DOMAIN),
        "possessionDomain": hex_of(bls.POP_DOMAIN),
        "hashToPoint": [
            {
                "domain": hex_of(domain),
                "message": hex_of(digest("hash", i)),
                "point": wire(bls.hash_to_g1(domain, digest("hash", i))),
            }
            for i in range(12)
            for domain in (bls.SETTLEMENT_DOMAIN, bls.POP_DOMAIN)
        ],
        "keys": [
            {
                "seed": hex_of(digest("bls", i)),
                "secret": str(secret.scalar),
                "g1": wire(key.g1),
                "g2": wire(key.g2),
                "chainId": "31337",
                "registry": registry,
                "owner": owner,
                "possessionDigest": hex_of(bls.pop_message(31337, registry, owner)),
                "possession": wire(secret.prove_possession(31337, registry, owner).point),
            }
            for i, (secret, key, owner) in enumerate(zip(secrets, keys, owners, strict=True))
        ],
        "message": hex_of(message),
        "signatures": [wire(signature.point) for signature in signatures],
        "aggregates": [
            {
                "signers": signers,
                "keyG1": wire(bls.aggregate_keys(keys[i] for i in signers).g1),
                "keyG2": wire(bls.aggregate_keys(keys[i] for i in signers).g2),
                "signature": wire(bls.aggregate_signatures(signatures[i] for i in signers).point),
            }
            for signers in ([0], [0, 1], [0, 2, 3], [0, 1, 2, 3])
        ],
        "invalidG2": [
            {"name": "infinity", "point": wire((0, 0, 0, 0))},
            {"name": "not on the curve", "point": wire((*keys[0].g2[:3], keys[0].g2[3] ^ 1))},
            {"name": "not in the subgroup", "point": wire(off_subgroup)},
            {"name": "coordinate not reduced", "point": wire((keys[0].g2[0] + bls.FIELD_MODULUS, *keys[0].g2[1:]))},
        ],
        "invalidG1": [
            {"name": "infinity", "point": wire((0, 0))},
            {"name": "not on the curve", "point": wire((1, 3))},
            {"name": "coordinate not reduced", "point": wire((1 + bls.FIELD_MODULUS, 2))},
        ],
    }


def g2_point_outside_the_subgroup() -> bls.G2Wire:
    """A point of the twist whose order is not the group's: the first small x with a root, by the complex method."""
    p = bls.FIELD_MODULUS
    for x in range(1, 100):
        b = pow(9 * 9 + 1, -1, p) * 3 % p  # 3 / (9 + i) = 3 (9 - i) / 82
        real, imaginary = (x**3 + 9 * b) % p, -b % p
        root = square_root_fp2(real, imaginary)
        if root is not None:
            return (0, x, root[1], root[0])
    raise AssertionError("no such point")


def square_root_fp2(real: int, imaginary: int) -> tuple[int, int] | None:
    p = bls.FIELD_MODULUS

    def root(value: int) -> int | None:
        candidate = pow(value, (p + 1) // 4, p)
        return candidate if candidate * candidate % p == value % p else None

    norm = root((real * real + imaginary * imaginary) % p)
    if norm is None:
        return None
    for sign in (norm, -norm):
        a = root((real + sign) * pow(2, -1, p) % p)
        if a:
            return (a, imaginary * pow(2 * a, -1, p) % p)
    return None


def samples() -> dict[str, object]:
    shapes = [(1, 0), (1, 5), (2, 3), (3, 1), (12, 2), (12, 4), (12, 50), (1000, 88)]
    cases = []
    for i, (steps, extra) in enumerate(shapes):
        seed, trainer = digest("seed", i), account("trainer", i)
        drawn = draw_samples(seed, 3 + i, 1 + i, trainer, steps=steps, extra=extra)
        cases.append(
            {
                "challengeSeed": hex_of(seed),
                "taskId": str(3 + i),
                "round": 1 + i,
                "trainer": trainer,
                "steps": steps,
                "extra": extra,
                "drawn": list(drawn),
            }
        )
    return {"cases": cases}


VECTORS: dict[str, Callable[[], dict[str, object]]] = {
    "bls.json": bls_vectors,
    "commitments.json": commitments,
    "samples.json": samples,
    "settlement.json": settlement,
}


def render(content: dict[str, object]) -> str:
    return json.dumps(content, indent=1) + "\n"


def main() -> None:
    for name, make in VECTORS.items():
        (FOLDER / name).write_text(render(make()), encoding="utf-8")


if __name__ == "__main__":
    main()
