"""Kafka as source and destination both need it: how a cluster is reached, asked, and read in bulk."""
