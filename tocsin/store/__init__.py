"""Storage of streams and keyed state. `protocol` is what every store implements; `embedded` and `cluster` are the stores."""

from tocsin.store.protocol import Appended, Entry, Store

__all__ = ["Appended", "Entry", "Store"]
