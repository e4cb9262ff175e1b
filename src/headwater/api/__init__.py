"""The one web server of a running project: who may ask, how much, and what is answered when something is wrong."""
