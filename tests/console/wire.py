"""A network between a browser and the console that is slow, or gone: a TCP relay on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


class Relay:
    """Relays `127.0.0.1:port` to a service; `bytes_per_s` limits what comes from it, of each connection."""

    def __init__(self) -> None:
        self.bytes_per_s: float | None = None
        self.cut = False
        """Nothing passes either way, and nobody is told: as when a cable is pulled."""
        self.to = 0
        """The service's port."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._closing = False

    def serve(self, to: int) -> None:
        """Until closed, to the service at port `to`."""
        self.to = to
        threading.Thread(target=self._accept, args=(to,), daemon=True).start()

    def close(self) -> None:
        self._closing = True
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, to: int) -> None:
        while not self._closing:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", to))
            self._sockets += [near, far]
            for source, sink, limited in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=(source, sink, limited), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, limited: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2048):
                while self.cut and not self._closing:
                    time.sleep(0.01)
                rate = self.bytes_per_s
                if limited and rate is not None:
                    time.sleep(len(data) / rate)
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relay() -> Iterator[Relay]:
    made = Relay()
    try:
        yield made
    finally:
        made.close()
