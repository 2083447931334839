"""Fetches models: from a Hugging Face style hub into the data folder, or into an Ollama server."""
