"""Grok: log lines to columns by named patterns, compiled to RE2, which takes time linear in the line."""
