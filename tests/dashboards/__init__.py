"""Dashboards, and Grafana that takes them."""
