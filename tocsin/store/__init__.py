"""The `Store` protocol: what the pipeline requires of every store."""

from tocsin.store.protocol import Appended, Entry, Store

__all__ = ["Appended", "Entry", "Store"]
