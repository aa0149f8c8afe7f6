"""Reads dataset files and computes digests of their content."""
