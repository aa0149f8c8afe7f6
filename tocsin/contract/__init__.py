"""The types that all parts share: streams, windows, findings, alerts, incidents and the plug-in kinds."""
