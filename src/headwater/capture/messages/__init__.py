"""What the sources of messages (brokers, HTTP, files) have in common: from raw messages to changes of a stream."""
