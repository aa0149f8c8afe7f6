"""Reads datasets and computes their digests."""
