"""Statistics: pure, typed functions that import nothing else of Tocsin."""
