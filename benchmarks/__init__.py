"""Questions about the package that only a measurement answers; ``python -m benchmarks`` asks them.

One question a file. A question is a module with a ``measure`` that returns a ``harness.Result``.
"""
