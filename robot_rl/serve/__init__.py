"""The policy server: any frozen policy in its own process; needs numpy, pyzmq and msgpack only."""
