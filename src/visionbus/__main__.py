"""`python -m visionbus`: the command line."""

from visionbus.cli import main

main()
