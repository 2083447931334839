"""Redis Streams as an ordered queue: keys, scripts, consumers, dead letters and the embedded server."""
