"""The collectors that come with Tocsin: one file for each source."""
