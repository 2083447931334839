"""Removing a person everywhere: who they are, the stores that may hold something of them, and the proof that none does."""
