"""Built-in plugins; each goes through the public hooks only, as a third party's would."""
