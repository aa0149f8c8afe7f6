"""Measurements of detection and speed; see README.md here."""
