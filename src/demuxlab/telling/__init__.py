"""A decision in words: the only room that words one.

`decision` has what there is to say, from a live `Delivery` or out of a capture. `comment` writes it into a
packet's comment and reads it back; `sentences`, `steps`, `html` and `rows` show it to people and programs.
`socket_file` reads a table of sockets. Nothing here does I/O, starts a thread or reads a clock.
"""
