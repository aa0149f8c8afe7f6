"""Buffers appends on disk while the cluster is unreachable."""
