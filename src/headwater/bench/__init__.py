"""Figures of this machine, measured side by side with what else could do the work: `headwater bench`."""
