"""The store of one machine: Delta Lake tables for the streams, SQLite for the keyed state."""
