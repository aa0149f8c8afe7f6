"""Receivers: one file each, one class `Receiver[Params]` in it, found by its `id`."""
