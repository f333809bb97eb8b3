"""Parts of one run in processes of their own: the guard and the store behind sockets, and their clients."""
