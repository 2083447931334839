"""Everything at once: people, real connectors, workers and Redis as processes, and faults of every kind among them.

`make chaos` runs it for minutes and checks the history that it writes.
"""
