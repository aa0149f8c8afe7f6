"""Keeps appends on disk while the cluster is away."""
