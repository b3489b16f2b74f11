"""How the starter model was made: synthesis, codec, language model, evaluation.

Each stage is one command (``python -m training.<stage>``) and resumes where it stopped; see ``training/README.md``.
"""
