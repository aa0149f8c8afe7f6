"""The files that `tocsin plugins new` writes: one module for each kind of plug-in.

`FILES` maps a path to its content. In both, `str.format` replaces {name}, {dashed} and {cls}; braces that stay are doubled.
"""
