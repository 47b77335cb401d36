"""Which page to request next, until the list is proven complete. No I/O."""
