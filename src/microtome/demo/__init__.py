"""A slide for demonstration: a tissue section painted by procedure, written as a real SVS file."""
