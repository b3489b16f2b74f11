"""The live server's parts: rings, audio process, engine process, transport, capture, session."""
