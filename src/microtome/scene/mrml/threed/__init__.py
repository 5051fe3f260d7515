"""The 3D view: drawn by VTK in the scene's thread, as 3D Slicer's displayable managers compose it."""
