"""A page on the wire: how to request it, and how to read it."""
