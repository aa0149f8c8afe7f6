"""The lender's story, lived through: `tocsin demo`. Real data, real models, real attacks, the real platform."""
