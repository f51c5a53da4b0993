"""``python -m textlabel``, ``torchrun -m textlabel`` and ``accelerate launch -m textlabel``."""

from textlabel.cli import main

if __name__ == "__main__":
    main()
