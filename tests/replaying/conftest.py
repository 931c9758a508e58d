"""Recorded rounds to judge, made once a session."""

from tests.tuning.conftest import bert_folder, bounded_round, exact_round, llama_folder

__all__ = ["bert_folder", "bounded_round", "exact_round", "llama_folder"]
