"""Arithmetic with the same bits on every machine: linear algebra, products, precision, keyed randomness."""
