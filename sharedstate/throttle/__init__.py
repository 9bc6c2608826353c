"""Throttles: rates that a fleet keeps together.

`spec` says what is allowed; `bucket` and `lease` are what one process knows of one throttle, `engine` all of its
throttles, `flows` what they do, without I/O; `sync` and `aio` run the flows; `reading` looks at what the fleet has.
"""
