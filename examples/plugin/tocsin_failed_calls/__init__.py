"""Tocsin plug-ins: failed_calls."""
