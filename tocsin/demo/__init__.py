"""`tocsin demo`: twelve weeks of a lender, with real data, models and attacks, and the code that runs in production."""
