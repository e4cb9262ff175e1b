"""Tests of models, run offline: `headwater test`."""
