"""Operators: who works on the hub, how they prove it, and what they may."""
