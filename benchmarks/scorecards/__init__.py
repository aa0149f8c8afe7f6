"""One scorecard a family of detectors: `measure(seeds)` gives its rows."""
