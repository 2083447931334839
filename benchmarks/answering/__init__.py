"""What the benchmark of grounded answers is made of: sections of documentation, questions, a judge."""
