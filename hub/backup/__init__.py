"""Backup and restore: one sealed archive with everything a hub keeps, made while it runs, and the way back."""
