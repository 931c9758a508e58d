"""The terms of a task: its spec, and the documents of federations and of their control."""
