"""Changed models built beside the running ones, and swapped in at an epoch (`docs/decisions/2026-11-22-swap.md`)."""
