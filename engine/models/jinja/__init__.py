"""Chat templates that come with model files."""
