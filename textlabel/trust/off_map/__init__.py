"""How far off the map a text is: one file, one score. What such a file defines is told in trust/scope.py."""
