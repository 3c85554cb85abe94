"""The cost of floods: memory, and a real client's time while forged packets arrive. Run as a program:

`python -m tests.benchmarks.floods [NAME…] [--json] [--markdown] [--scale F]`
"""
