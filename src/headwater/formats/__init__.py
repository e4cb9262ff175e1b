"""How the bytes of messages are read and written: JSON, CSV, raw bytes, Debezium's envelope, Avro and Protobuf."""
