"""Records the calls of a model, in the process that serves the model."""
