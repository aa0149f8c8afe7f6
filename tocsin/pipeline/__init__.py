"""The two ways through: `ingest` turns batches into rows of a stream, `detect` windows into findings."""
