"""The demo: twelve weeks of a lender with four attacks, through the real pipeline."""
