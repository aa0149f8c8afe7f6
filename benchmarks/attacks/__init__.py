"""Attack generators for the scorecards."""
