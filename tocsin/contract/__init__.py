"""The types that all packages share: streams, windows, findings, alerts, incidents and the kinds of plug-in."""
