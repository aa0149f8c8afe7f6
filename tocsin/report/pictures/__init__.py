"""The pictures of a report as SVG, one per module."""
