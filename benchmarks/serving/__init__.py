"""What the benchmark of the HTTP API is made of."""
