"""The alert path: stages, receivers, incidents and their playbooks."""
