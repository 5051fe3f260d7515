"""Slices through volumes, sampled with numpy: plain arrays and matrices in, pictures out. Knows no MRML."""
