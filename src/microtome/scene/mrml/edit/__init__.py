"""What clients of 3D Slicer needed scripts for: markups, segments and transforms, changed and measured."""
