"""Tocsin plug-ins: slow_calls."""
