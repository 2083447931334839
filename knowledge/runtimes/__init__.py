"""What an embedding model is computed by: sentence-transformers on PyTorch, or whole numbers of 8 bits on ONNX Runtime."""
