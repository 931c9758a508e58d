"""One family of benchmarks a folder: `python -m benchmarks.FAMILY[.NAME]` measures, prints, and writes its page.

Pages are in docs/results, their figures in docs/results/data.
"""
