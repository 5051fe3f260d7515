"""The built-in web pages: a catalogue and a slide viewer. Plain ES modules, nothing loaded from elsewhere."""
