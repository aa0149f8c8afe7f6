"""The collectors that come with Tocsin: one file a source."""
