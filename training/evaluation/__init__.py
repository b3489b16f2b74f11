"""What ``training.evaluate`` measures: what is asked of the model, how it is asked, and what counts as an answer."""
