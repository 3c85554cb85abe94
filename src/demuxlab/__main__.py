"""`python -m demuxlab` is the command `demuxlab`."""

from demuxlab.cli.main import main

main()
