"""`tocsin demo`: twelve weeks of a lender, with real data, models and attacks, monitored by the real platform."""
