"""How fast the pages are on long histories."""
