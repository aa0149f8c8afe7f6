"""Grafana dashboards as code; they come with a later release."""
