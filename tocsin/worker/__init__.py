"""Builds the objects of a worker from the configuration (`app.py`) and runs its scheduled jobs."""
