"""From a source to its stream: decode, validate, protect, append."""
