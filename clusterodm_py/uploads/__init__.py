"""L2: the spool. Uploads stream in, files become visible only when they are whole, and wait there for their node."""
