"""The pipeline: `ingesting` turns batches into rows of a stream, `detecting` turns windows into findings."""
