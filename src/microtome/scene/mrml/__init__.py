"""Everything that touches vtkMRML. Only the process of the scene imports it, and one thread uses it."""
