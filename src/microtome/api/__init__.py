"""The only rooms that know HTTP: one package for each API family, and what all of them share."""
