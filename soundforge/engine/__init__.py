"""Generation over `soundforge.nn`; knows no plugin by name."""
