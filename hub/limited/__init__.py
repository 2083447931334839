"""Work on bytes from strangers in processes of their own, with hard limits on memory, time and files."""
