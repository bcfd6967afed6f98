"""`python -m bench` is `postbench`."""

from bench.cli import main

main()
