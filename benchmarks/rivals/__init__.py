"""Other tools that judge the windows of a scorecard, each in an environment of its own.

A rival gets a folder with `reference.npz` and `windows.npz`: `names` of columns, `rows` of numbers, and `window`, the number
of the window of each row. Its script, `answer_<rival>.py`, writes `answers.json`: for each window a score (higher is
worse) and its own verdict, or null if the tool has none for a window.
"""
