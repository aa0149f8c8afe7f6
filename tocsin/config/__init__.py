"""Reads and validates `tocsin.yaml`, and discovers plug-ins."""
