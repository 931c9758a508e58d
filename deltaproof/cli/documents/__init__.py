"""What commands print with `--json`: a typed document for each, and the page and schemas that are made from them.

Commands annotate what they print with these types; nothing here is imported while a command runs.
"""
