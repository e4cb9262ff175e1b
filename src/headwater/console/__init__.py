"""The console of a running project: a documented JSON API below /v1, and the page that is a view over it."""
