"""The built-in detectors, one file each, found like anyone else's."""
