"""deltaproof: the application. Command line, configuration, demo, reports."""
