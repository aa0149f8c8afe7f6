"""Stores appends on the local disk while the cluster is unavailable, and sends them afterwards."""
