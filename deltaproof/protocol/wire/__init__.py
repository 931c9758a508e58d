"""Encodings and trees: canonical JSON, documents and their digests, Merkle trees, safetensors in one form."""
