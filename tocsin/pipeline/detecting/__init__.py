"""Evaluates due windows and writes findings: leases, baselines, evaluation, records."""
