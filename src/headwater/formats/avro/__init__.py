"""Avro: schemas, decoding to Arrow columns, container files, encoding."""
