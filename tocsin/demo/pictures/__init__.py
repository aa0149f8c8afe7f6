"""The pictures of the demo that know the truth of its story, one a module."""
