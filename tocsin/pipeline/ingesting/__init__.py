"""Ingests batches: decode, validate, protect sensitive fields, append to the stream."""
