"""Laboratories: code that makes what a task may use, and that no participant needs. Only its own commands import it."""
