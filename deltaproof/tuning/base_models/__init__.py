"""Base models: found, checked against a digest, loaded, fed with rows, and divided into layers."""
