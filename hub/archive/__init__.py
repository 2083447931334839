"""What was said, for good: a projection of the events streams into the database, searchable and rebuildable."""
