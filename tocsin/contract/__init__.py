"""What all parts agree on: streams, windows, findings, alerts, incidents and the plug-in kinds."""
