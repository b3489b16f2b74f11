"""Public building blocks: transformer, KV cache, codecs' layers, streaming convolutions. Torch lives here."""
