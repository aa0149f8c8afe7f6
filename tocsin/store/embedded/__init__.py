"""The store on one machine: Delta Lake tables, and SQLite for the keyed state."""
