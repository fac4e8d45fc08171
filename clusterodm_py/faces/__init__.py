"""L4: what the outside speaks to. Thin: parse, call the engine, render."""
