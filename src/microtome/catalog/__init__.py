"""Which slides exist, and where they are."""
