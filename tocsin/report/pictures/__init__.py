"""The pictures of a report, one a module: what a store holds, drawn as SVG."""
