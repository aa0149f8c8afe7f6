"""The report for managers and auditors, as HTML and Markdown."""
