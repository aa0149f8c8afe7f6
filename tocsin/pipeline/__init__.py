"""The path of an event to its stream, and of a window to its findings."""
