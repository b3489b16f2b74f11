"""`python -m soundforge.cli`: the same as the command `soundforge`."""

from soundforge.cli import main

if __name__ == "__main__":
    main()
