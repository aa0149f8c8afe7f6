"""Builds the object graph from the configuration (`app.py`) and runs the scheduled jobs of a worker."""
