"""The work behind the commands, as Python objects: a network, its tasks, roles in them, histories and audits."""
