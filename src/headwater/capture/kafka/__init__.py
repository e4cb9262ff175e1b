"""Kafka topics as streams."""
