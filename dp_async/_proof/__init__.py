"""Is this set of reads the whole list? Pure: no I/O, no clock, no asyncio."""
