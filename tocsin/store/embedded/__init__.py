"""The store on one machine: Delta Lake tables for streams, SQLite for the keyed state."""
