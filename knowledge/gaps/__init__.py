"""Questions to which the documents hold no answer: kept, put together where they ask the same, looked up elsewhere."""
