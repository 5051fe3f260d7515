"""Bodies painted with numpy: sample data that needs no download. The same in every run and on every machine."""
