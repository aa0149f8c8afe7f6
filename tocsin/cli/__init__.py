"""The command line: parses arguments, calls the app, prints. One file for each command group."""
