"""What can be asked of a scene: one structure a question. Plain values; nothing here knows MRML's classes."""
