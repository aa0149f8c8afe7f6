"""Storage of streams and keyed state. `protocol` defines the methods of a store; `embedded` and `cluster` are the stores."""

from tocsin.store.protocol import Appended, Entry, Store

__all__ = ["Appended", "Entry", "Store"]
