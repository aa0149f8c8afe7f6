"""The pictures of the demo's report, one a module: the store's content as inline SVG."""
