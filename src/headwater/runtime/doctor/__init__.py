"""Looks at everything that a project depends on, all at once and in a bounded time: `headwater doctor`."""
