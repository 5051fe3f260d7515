"""Running the application: one process, or several that share a port."""
