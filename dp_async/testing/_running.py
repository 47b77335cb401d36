"""Whether a simulator runs, and its address while it does. It answers nothing."""

from __future__ import annotations

from ._arguments import SimulatorMisused, whole
from ._wire import HOST, Exchange, Server


class Running:
    """The server of a simulator: none, running, or closed, and then perhaps running again."""

    def __init__(self, exchange: Exchange, port: int) -> None:
        whole("port", port, 0, 65_535)
        self._exchange = exchange
        self._port = port
        self._server: Server | None = None
        self._closed = False

    async def start(self) -> None:
        """Listens. Raises OSError, or SimulatorMisused if it runs already."""
        if self._server is not None:
            raise SimulatorMisused("this simulator is already running")
        server = Server(self._exchange, self._port)
        await server.start()
        self._server, self._closed = server, False

    async def stop(self) -> None:
        """Closes the server, if one runs."""
        server, self._server = self._server, None
        if server is not None:
            self._closed = True
            await server.close()

    @property
    def where(self) -> str:
        """Where it listens, or why it does not, for reprs and errors."""
        if self._server is not None:
            return f"at {self.url}"
        return "was closed" if self._closed else "is not running"

    @property
    def url(self) -> str:
        """The base URL. Raises SimulatorMisused while no server runs."""
        if self._server is None:
            raise SimulatorMisused(
                f"this simulator {self.where}, so it has no address: use its url and settings"
                " within `async with Simulator(...) as simulator:`; without a server, pass"
                " Client(simulator.in_process_settings, send=simulator.send)"
            )
        return f"http://{HOST}:{self._server.port}"
