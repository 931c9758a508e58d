"use strict";
// Keccak-256, SHA-256 and the protocol's trees, so that nobody has to trust whoever served this page.
const Verify = (() => {
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

  // Keccak-f[1600] on 25 lanes of 64 bits (Keccak reference, section 1.2); rate 136 bytes, padding 0x01.
  const MASK = (1n << 64n) - 1n;
  const rotate = (lane, by) => by ? ((lane << BigInt(by)) | (lane >> BigInt(64 - by))) & MASK : lane;
  const ROUND_CONSTANTS = (() => {
    const constants = [];
    let lfsr = 1;
    for (let round = 0; round < 24; round++) {
      let constant = 0n;
      for (let j = 0; j < 7; j++) {
        if (lfsr & 1) constant |= 1n << BigInt((1 << j) - 1);
        lfsr = lfsr & 0x80 ? ((lfsr << 1) ^ 0x171) : lfsr << 1;
      }
      constants.push(constant);
    }
    return constants;
  })();
  const permute = (state) => {
    for (const constant of ROUND_CONSTANTS) {
      const columns = [0, 1, 2, 3, 4].map((x) => state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20]);
      for (let i = 0; i < 25; i++) state[i] ^= columns[(i + 4) % 5] ^ rotate(columns[(i % 5 + 1) % 5], 1);
      let [x, y, lane] = [1, 0, state[1]];
      for (let t = 0; t < 24; t++) {
        [x, y] = [y, (2 * x + 3 * y) % 5];
        [lane, state[x + 5 * y]] = [state[x + 5 * y], rotate(lane, ((t + 1) * (t + 2) / 2) % 64)];
      }
      for (let row = 0; row < 25; row += 5) {
        const line = state.slice(row, row + 5);
        for (let i = 0; i < 5; i++) state[row + i] = line[i] ^ (~line[(i + 1) % 5] & MASK & line[(i + 2) % 5]);
      }
      state[0] ^= constant;
    }
  };
  const keccak256 = (bytes) => {
    const rate = 136;
    const padded = new Uint8Array(Math.ceil((bytes.length + 1) / rate) * rate);
    padded.set(bytes);
    padded[bytes.length] ^= 0x01;
    padded[padded.length - 1] ^= 0x80;
    const state = new Array(25).fill(0n);
    for (let block = 0; block < padded.length; block += rate) {
      for (let i = 0; i < rate; i++) state[i >> 3] ^= BigInt(padded[block + i]) << BigInt(8 * (i & 7));
      permute(state);
    }
    return Uint8Array.from({length: 32}, (_, i) => Number((state[i >> 3] >> BigInt(8 * (i & 7))) & 255n));
  };

  // SHA-256 (FIPS 180-4). Constants are the first bits of the fractional parts of roots of primes.
  const PRIMES = (() => { const found = []; for (let n = 2; found.length < 64; n++) if (found.every((p) => n % p)) found.push(n); return found; })();
  const fraction = (value) => ((value - Math.floor(value)) * 2 ** 32) >>> 0;
  const K = PRIMES.map((prime) => fraction(Math.cbrt(prime)));
  const INITIAL = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
  const right = (word, by) => (word >>> by) | (word << (32 - by));
  const sha256 = (bytes) => {
    const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64);
    padded.set(bytes);
    padded[bytes.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
    view.setUint32(padded.length - 4, (bytes.length * 8) >>> 0);
    const hash = INITIAL.slice();
    for (let block = 0; block < padded.length; block += 64) {
      const w = Array.from({length: 16}, (_, i) => view.getUint32(block + 4 * i));
      for (let i = 16; i < 64; i++) {
        const s0 = right(w[i - 15], 7) ^ right(w[i - 15], 18) ^ (w[i - 15] >>> 3);
        const s1 = right(w[i - 2], 17) ^ right(w[i - 2], 19) ^ (w[i - 2] >>> 10);
        w[i] = (w[i - 16] + s0 + w[i - 7] + s1) >>> 0;
      }
      let [a, b, c, d, e, f, g, h] = hash;
      for (let i = 0; i < 64; i++) {
        const t1 = h + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
        const t2 = (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) >>> 0, c, b, a, (t1 + t2) >>> 0];
      }
      [a, b, c, d, e, f, g, h].forEach((word, i) => { hash[i] = (hash[i] + word) >>> 0; });
    }
    const result = new Uint8Array(32);
    hash.forEach((word, i) => new DataView(result.buffer).setUint32(4 * i, word));
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
  return {keccak256, sha256, fromHex, toHex, leaf, commitment, record};
})();
