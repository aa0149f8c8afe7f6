"""Pure mathematics, typed and free of Tocsin's other parts."""
