"""Checkpoint files to modules: published layouts, the native form, the catalogue and the hub."""
