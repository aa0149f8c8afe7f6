"""Evaluates due windows: leases, baselines, the fence around plug-in code, run records."""
