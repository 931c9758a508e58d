"""`python -m deltaproof` is the command `deltaproof`."""

from deltaproof.cli import main

main()
