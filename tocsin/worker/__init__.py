"""The composition root, and what a worker does all day."""
