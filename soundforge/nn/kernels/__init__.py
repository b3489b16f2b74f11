"""Compiled kernels for the CPU: a whole decode step of the language model in one call, in C.

They are optional. Where a C compiler is found, they are built once per machine into the user's cache (`build.py`);
where none is, the same steps run through torch, slower. `soundforge doctor` says which of the two it is.
"""
