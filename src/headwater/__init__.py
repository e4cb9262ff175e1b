"""Headwater: a streaming lakehouse that you `pip install`."""

__version__ = "0.1.0"
