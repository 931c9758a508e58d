"""A sponsor's working life: draft a task, fund it, open rounds, show validation sets in time, take back the rest."""
