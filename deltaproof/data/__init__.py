"""Data as people have them: files, `datasets` folders and hub data sets become canonical rows of a task."""
