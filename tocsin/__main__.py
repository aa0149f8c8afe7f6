"""Runs the command line with `python -m tocsin`."""

from tocsin.cli.main import main

main()
