"""Routes for operators: documents and who may read them, open questions, people, their data and its erasure."""
