// What the pages hash and pair with, in one file: see scripts/bundle_pages.py.
export {keccak_256} from "@noble/hashes/sha3.js";
export {sha256} from "@noble/hashes/sha2.js";
export {bn254} from "@noble/curves/bn254.js";
