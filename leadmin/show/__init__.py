"""How numbers become words, and signals become drawings."""
