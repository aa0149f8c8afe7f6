"""Reads and checks `tocsin.yaml`, and discovers plug-ins."""
