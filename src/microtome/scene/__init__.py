"""A Slicer scene: vtkMRML in a process of its own, and everything that is asked of it.

``calls`` says what can be asked; ``client`` asks, ``process`` answers. Only ``mrml`` touches VTK, and only the scene's
process imports it. ``slices`` samples volumes with numpy and knows neither.
"""
