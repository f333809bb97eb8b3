"""The protocol twin: the same scene behind a server of libfranka's protocol, driven by the real driver, in real time."""
