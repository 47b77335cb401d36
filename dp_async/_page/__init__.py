"""A page on the wire: how it is requested and how it is read. Pure."""
