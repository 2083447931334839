"""Reads files into text: documents that are taken in, and what people attach to a message."""
