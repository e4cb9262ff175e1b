"""Records that come by HTTP: taken in, made durable, answered."""
