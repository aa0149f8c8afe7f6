"""The command line: parses, calls the app, prints. One file a command group; nothing heavy at import."""
