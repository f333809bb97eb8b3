"""The protocol twin: the same scene behind a server of libfranka's protocol, moved by the driver, in real time."""
