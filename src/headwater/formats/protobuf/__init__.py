"""Protocol Buffers: schemas, decoding to Arrow columns, encoding."""
