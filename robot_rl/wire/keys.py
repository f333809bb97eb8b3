"""Who may talk to a server on another machine: CURVE keys in files, and the handler that refuses all others.

A server has one file and each of its clients another (`robot-rl keys`). CURVE encrypts and authenticates both ways:
a client knows its server's public key, a server the public keys of its clients. Whoever is refused reaches no handler,
so nothing that it sends can change anything. Secrets are in the files alone: they are in no message, log or `repr`.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import zmq
from zmq.utils import z85

from robot_rl.errors import ConfigError

log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
"""Where libzmq asks (ZeroMQ RFC 27)."""


@dataclass(frozen=True)
class ServerKeys:
    """What a server's file holds; keys in Z85, 40 characters."""

    public: str
    secret: str = field(repr=False)
    clients: Mapping[str, str] = field(default_factory=dict)
    """Name -> public key of each client that is let in."""


@dataclass(frozen=True)
class ClientKeys:
    """What a client's file holds."""

    public: str
    secret: str = field(repr=False)
    server: str = ""
    """Public key of the server it talks to, and to no other."""


K = TypeVar("K", ServerKeys, ClientKeys)


def new_server_keys() -> ServerKeys:
    """A key pair that lets nobody in yet."""
    public, secret = zmq.curve_keypair()
    return ServerKeys(public.decode(), secret.decode())


def add_client(server: ServerKeys, name: str) -> tuple[ServerKeys, ClientKeys]:
    """A key pair for the client `name`, and the server that lets it in. Raises `ConfigError` for a taken name."""
    if name in server.clients:
        raise ConfigError(f"the server has a client {name!r} already: choose another name, or remove that one first")
    public, secret = zmq.curve_keypair()
    clients = {**server.clients, name: public.decode()}
    client = ClientKeys(public.decode(), secret.decode(), server.public)
    return ServerKeys(server.public, server.secret, clients), client


def write_keys(path: Path, keys: ServerKeys | ClientKeys, *, replace: bool = False) -> None:
    """Write a file that its owner alone can read. Raises `ConfigError` if it is there and not to be replaced."""
    text = json.dumps({"kind": type(keys).__name__, **asdict(keys)}, indent=2) + "\n"
    target = path.with_name(f".{path.name}.new") if replace else path
    try:
        target.unlink(missing_ok=True) if replace else None
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            target.replace(path)
    except FileExistsError:
        raise ConfigError(f"{path} is there already: keys are never overwritten; choose another name") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def read_keys(path: Path, kind: type[K]) -> K:
    """The keys in `path`. Raises `ConfigError`, without a word of what the file holds."""
    expected = f"expected the key file of a {'server' if kind is ServerKeys else 'client'} (`robot-rl keys`)"
    try:
        mode = path.stat().st_mode
        found: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise ConfigError(f"{path}: {expected}, got {reason}") from None
    if mode & 0o077:
        raise ConfigError(f"{path}: others can read this secret (mode {mode & 0o777:03o}); run `chmod 600 {path}`")
    if not isinstance(found, dict) or found.pop("kind", None) != kind.__name__:
        raise ConfigError(f"{path}: {expected}, got another file")
    clients: Any = found.get("clients", {})
    texts = [*(value for name, value in found.items() if name != "clients"), *_values(clients)]
    names = {"public", "secret", "clients" if kind is ServerKeys else "server"}
    if found.keys() != names or not all(isinstance(text, str) and len(text) == 40 for text in texts):
        raise ConfigError(f"{path}: {expected}, got one that is damaged; make new keys")
    return kind(**found)


def _values(clients: Any) -> list[Any]:
    return list(clients.values()) if isinstance(clients, dict) else [None]


def secure_server(socket: zmq.Socket[bytes], keys: ServerKeys) -> None:
    """Before `bind`: let nobody in but who the context's `Doorkeeper` knows."""
    socket.curve_server = True
    socket.curve_secretkey = keys.secret.encode()
    socket.zap_domain = b"robot_rl"


def secure_client(socket: zmq.Socket[bytes], keys: ClientKeys) -> None:
    """Before `connect`: talk to the server of `keys` alone."""
    socket.curve_serverkey = keys.server.encode()
    socket.curve_publickey = keys.public.encode()
    socket.curve_secretkey = keys.secret.encode()


class Doorkeeper:
    """Answers libzmq's question whether a client's key is let in (ZAP); one for each context, made before the socket.

    Raises nothing at its peers. `poll` belongs to the thread that made it.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys) -> None:
        self.refused = 0
        """Clients turned away; one that keeps trying counts each time."""
        self._known = {name: z85.decode(public.encode()) for name, public in keys.clients.items()}
        self.socket = context.socket(zmq.REP)
        self.socket.bind(ZAP_ENDPOINT)

    def poll(self) -> None:
        """Answer what is asked now."""
        while self.socket.poll(0):
            frames = self.socket.recv_multipart()
            version, request, mechanism = frames[0], frames[1], frames[5]
            name = self._name_of(frames[6]) if mechanism == b"CURVE" and len(frames) == 7 else None
            if name is None:
                self.refused += 1
                log.warning("refused a client with an unknown key (%d so far)", self.refused)
            verdict = (b"400", b"unknown key", b"") if name is None else (b"200", b"", name.encode())
            self.socket.send_multipart([version, request, *verdict, b""])

    def _name_of(self, key: bytes) -> str | None:
        """The client with this public key; takes as long whichever it is, and if it is none."""
        found = None
        for name, known in self._known.items():
            if hmac.compare_digest(key, known):
                found = name
        return found
