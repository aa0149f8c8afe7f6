"""From a due window to its findings: leases, baselines, evaluation, records."""
