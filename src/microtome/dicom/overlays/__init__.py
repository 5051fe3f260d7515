"""What was marked on a slide: microscopy bulk annotations and segmentations, as tiles to be laid over it."""
