"""The command line: parses arguments, calls the app, prints. One file a command group."""
