"""Runs a simulator until it is cancelled. It decides nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ._simulator import Simulator


async def serve(
    simulator: Simulator, *, ready: Callable[[Simulator], object] = lambda simulator: None
) -> None:
    """Runs *simulator* until cancelled, and calls *ready* once it listens."""
    async with simulator:
        ready(simulator)
        await asyncio.get_running_loop().create_future()
