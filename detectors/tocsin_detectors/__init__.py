"""The built-in detectors, one file each, discovered through the same entry point as other plug-ins."""
