"""One message in, one reply out: memory, retrieval and a local model, driven by the consumer group `engine`."""
