"""A report of what a store holds, for a manager and an auditor: one document, written as HTML or as Markdown."""
