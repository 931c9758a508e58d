"use strict";
// The protocol's trees, seals and signatures, so that nobody has to trust whoever served this page. Hashes and pairings
// are those of noble-hashes and noble-curves (noble.js).
const Verify = (() => {
  const {keccak_256: keccak256, sha256, bn254} = Noble;
  const fromHex = (text) => {
    const digits = text.replace(/^0x/, "");
    if (digits.length % 2 || /[^0-9a-fA-F]/.test(digits)) throw new Error("not hexadecimal: " + text);
    return Uint8Array.from(digits.match(/../g) || [], (pair) => parseInt(pair, 16));
  };
  const toHex = (bytes) => "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const join = (...parts) => {
    const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { result.set(part, at); at += part.length; }
    return result;
  };

  // abi.encode of static values: one 32-byte word each; negative integers in two's complement.
  const word = (value) => {
    if (typeof value === "string" && value.startsWith("0x")) {
      const bytes = fromHex(value);
      if (bytes.length > 32) throw new Error("longer than a word: " + value);
      return bytes.length === 32 ? bytes : join(new Uint8Array(32 - bytes.length), bytes);
    }
    return fromHex(BigInt.asUintN(256, BigInt(value)).toString(16).padStart(64, "0"));
  };
  const encode = (values) => join(...values.map(word));

  /** Settlement leaf to root: leaves hashed twice, pairs in order; an odd last node moves up (contracts/libraries/LeafTree.sol). */
  const leaf = (claim) => {
    const fields = [claim.trainer, claim.verdict, claim.scoreNanos, claim.stderrNanos, claim.discountBps, claim.payout];
    let node = keccak256(keccak256(encode(fields)));
    let index = claim.index, last = claim.count - 1;
    if (!(0 <= index && index <= last && last < 2 ** 32)) throw new Error("no leaf " + index + " among " + claim.count);
    const siblings = claim.proof.map(fromHex);
    for (; last; index >>>= 1, last >>>= 1) {
      if (!(index & 1) && index === last) continue;
      if (!siblings.length) throw new Error("the proof is too short");
      const sibling = siblings.shift();
      node = keccak256(index & 1 ? join(sibling, node) : join(node, sibling));
    }
    if (siblings.length) throw new Error("the proof is too long");
    return {computed: toHex(node), expected: claim.root.toLowerCase()};
  };
  /** What a trainer sealed before anybody saw its work. */
  const commitment = (seal) => {
    const fields = [seal.typehash, seal.chainId, seal.tasks, seal.taskId, seal.round, seal.trainer, seal.deltaDigest, seal.transcriptRoot, seal.salt];
    return {computed: toHex(keccak256(encode(fields))), expected: seal.commitment.toLowerCase()};
  };
  /** A step record to the transcript root: ordered SHA-256 tree with domain-separated leaves and nodes. */
  const record = (opening) => {
    let node = sha256(join(Uint8Array.of(2), fromHex(opening.record)));
    const depth = Math.ceil(Math.log2(opening.count));
    if (opening.siblings.length !== depth) throw new Error("a proof of " + opening.siblings.length + " nodes where " + depth + " belong");
    opening.siblings.forEach((text, height) => {
      const sibling = fromHex(text);
      node = sha256(join(Uint8Array.of(1), ...((opening.index >> height) & 1 ? [sibling, node] : [node, sibling])));
    });
    return {computed: toHex(node), expected: opening.root.toLowerCase()};
  };

  /** A digest as a point of G1: the first i whose keccak256(domain ‖ digest ‖ i) mod p is the x of one; y is even. */
  const hashToCurve = (domain, digest) => {
    const {Fp} = bn254.fields;
    for (let i = 0; i < 256; i++) {
      const x = Fp.create(BigInt(toHex(keccak256(join(domain, digest, Uint8Array.of(i))))));
      const square = Fp.add(Fp.mul(Fp.sqr(x), x), 3n), y = Fp.pow(square, (Fp.ORDER + 1n) / 4n);
      if (Fp.eql(Fp.sqr(y), square)) return bn254.G1.Point.fromAffine({x, y: y % 2n ? Fp.neg(y) : y});
    }
    throw new Error("the digest leads to no point");
  };
  const valid = (point) => { point.assertValidity(); return point; };
  /** The settlement, sealed, under the sum of the signers' keys: e(signature, G2) = e(H(settlement), keys) on BN254. */
  const quorum = (posted) => {
    const digest = keccak256(encode([posted.typehash, posted.chainId, posted.tasks, posted.taskId, posted.round, posted.attempt, ...posted.settlement]));
    const sum = posted.keys.map(([xi, xr, yi, yr]) => valid(bn254.G2.Point.fromAffine({x: {c0: BigInt(xr), c1: BigInt(xi)}, y: {c0: BigInt(yr), c1: BigInt(yi)}}))).reduce((total, key) => total.add(key));
    const signature = valid(bn254.G1.Point.fromAffine({x: BigInt(posted.signature[0]), y: BigInt(posted.signature[1])}));
    const shown = (pairing) => toHex(keccak256(bn254.fields.Fp12.toBytes(pairing)));
    return {computed: shown(bn254.pairing(signature, bn254.G2.Point.BASE)), expected: shown(bn254.pairing(hashToCurve(fromHex(posted.domain), digest), sum))};
  };
  return {keccak256, sha256, fromHex, toHex, leaf, commitment, record, quorum};
})();
