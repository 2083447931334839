"""What the assistant knows: documents become chunks, chunks become vectors, questions find passages."""
