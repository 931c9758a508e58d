"""A store for strangers over HTTP: anybody reads, and who has a role in a task writes what the role calls for."""
