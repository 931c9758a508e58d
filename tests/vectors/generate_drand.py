"""Writes `drand.json`: rounds of drand's evmnet as its relays publish them, points as another library maps to them, and
more of both from Python for Solidity.

    python tests/vectors/generate_drand.py

Public rounds and the network's description are those of https://api.drand.sh/v2/beacons/evmnet; the first maps are
test vectors of gnark-crypto (ecc/bn254, hash_vectors_test.go: u and Q of encodeToG1Vector), whose map is the same.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from deltaproof.protocol.commit.bls import FIELD_MODULUS, SecretKey
from deltaproof.protocol.commit.drand import EVMNET, hash_to_point, map_to_point, round_message, sign_round
from deltaproof.protocol.types import hex_of

PUBLIC_ROUNDS = (
    (
        1,
        "11f812d738a36b2210dc88c2d635ad8039588205f42445d6de09e6530165c346"
        "2a23aca348c84badcf8df5321ac24577b7963d5b0d780bc4626baedb45cde373",
        "781b75698adc3af62cfa55db83cf0c73ae54e1ac8c0d4c3a2224126b65369ec5",
    ),
    (
        9_337_227,
        "01d65d6128f4b2df3d08de85543d8efe06b0281d0770246ae3672e8ddd3efda0"
        "269373123458f0b5c0073eeed1c816a06809e127421513e34ee07df6987910b3",
        "a1e645cd6193837f626716851f5c42ad4bf63ad75193b2cae40f88c08c8f3bd8",
    ),
)
"""Round, signature and randomness."""
MAPPED_ELSEWHERE = (
    (
        "0cb81538a98a2e3580076eed495256611813f6dae9e16d3d4f8de7af0e9833e1",
        "1bb8810e2ceaf04786d4efd216fc2820ddd9363712efc736ada11049d8af5925",
        "1efbf8d54c60d865cce08437668ea30f5bf90d287dbd9b5af31da852915e8f11",
    ),
    (
        "0ba35e127276e9000b33011860904ddee28f1d48ddd3577e2a797ef4a5e62319",
        "0da4a96147df1f35b0f820bd35c6fac3b80e8e320de7c536b1e054667b22c332",
        "189bd3fbffe4c8740d6543754d95c790e44cd2d162858e3b733d2b8387983bb7",
    ),
    (
        "11852286660cd970e9d7f46f99c7cca2b75554245e91b9b19d537aa6147c28fc",
        "2ff727cfaaadb3acab713fa22d91f5fddab3ed77948f3ef6233d7ea9b03f4da1",
        "304080768fd2f87a852155b727f97db84b191e41970506f0326ed4046d1141aa",
    ),
    (
        "174d1c85d8a690a876cc1deba0166d30569fafdb49cb3ed28405bd1c5357a1cc",
        "11a2eaa8e3e89de056d1b3a288a7f733c8a1282efa41d28e71af065ab245df9b",
        "060f37c447ac29fd97b9bb83be98ddccf15e34831a9cdf5493b7fede0777ae06",
    ),
)
"""u, x, y."""
MAPS = 400
MESSAGES = 200
OWN_ROUNDS = 4
HALF = pow(2, -1, FIELD_MODULUS)
EXCEPTIONAL = (0, 1, 2, FIELD_MODULUS - 1, HALF, FIELD_MODULUS - HALF)
"""Zero, and where 1 - 4 u^2 is zero: the map's inverse of zero."""


def integer(*name: object) -> int:
    """A field element."""
    wide = b"".join(sha256("/".join(map(str, (*name, i))).encode()).digest() for i in range(2))
    return int.from_bytes(wide, "big") % FIELD_MODULUS


def maps() -> dict[str, list[str]]:
    """Columns, which forge reads faster than rows."""
    elsewhere = [int(u, 16) for u, _, _ in MAPPED_ELSEWHERE]
    rows = [(u, *map_to_point(u)) for u in (*elsewhere, *EXCEPTIONAL, *(integer("map", i) for i in range(MAPS)))]
    return {name: [str(row[i]) for row in rows] for i, name in enumerate(("u", "x", "y"))}


def messages() -> dict[str, list[str]]:
    rounds = [1, 2, 2**64 - 1, *(integer("round", i) % 2**64 for i in range(MESSAGES))]
    points = [hash_to_point(round_message(r)) for r in rounds]
    return {"round": list(map(str, rounds)), "x": [str(x) for x, _ in points], "y": [str(y) for _, y in points]}


def main() -> None:
    for u, x, y in MAPPED_ELSEWHERE:
        assert map_to_point(int(u, 16)) == (int(x, 16), int(y, 16))
    secret = SecretKey(integer("secret"))
    own = [(r, sign_round(secret, r).point) for r in range(1, OWN_ROUNDS + 1)]
    vectors = {
        "network": {
            "publicKey": [str(c) for c in EVMNET.public_key],
            "genesis": EVMNET.genesis,
            "period": EVMNET.period,
            "chainHash": hex_of(EVMNET.chain_hash),
        },
        "rounds": [
            {"round": r, "signature": "0x" + signature, "randomness": "0x" + randomness}
            for r, signature, randomness in PUBLIC_ROUNDS
        ],
        "maps": maps(),
        "messages": messages(),
        "own": {
            "publicKey": [str(c) for c in secret.public_key().g2],
            "x": [str(x) for _, (x, _) in own],
            "y": [str(y) for _, (_, y) in own],
        },
    }
    (Path(__file__).resolve().parent / "drand.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
