"""Receivers: one file each, with one class `Receiver[Params]` that is found by its `id`."""
