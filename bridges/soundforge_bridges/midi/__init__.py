"""The MIDI bridge as a plugin: registered through the public hook, light to import."""
