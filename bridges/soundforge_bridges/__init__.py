"""Built-in bridges: control from outside over OSC and MIDI."""
