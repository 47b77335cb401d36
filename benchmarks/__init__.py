"""Benchmarks of the package: ``python -m benchmarks`` runs them.

Each file answers one question: a module with a ``measure`` that returns a ``harness.Result``.
"""
