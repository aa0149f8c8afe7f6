"""Statistics: pure, typed functions without imports from the rest of Tocsin."""
