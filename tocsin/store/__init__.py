"""Where streams live: the protocol that every store keeps. `delta.py` is the embedded one."""

from tocsin.store.protocol import Appended, Entry, Store

__all__ = ["Appended", "Entry", "Store"]
