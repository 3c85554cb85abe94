"""A decision as text: as comment, sentence, steps, HTML, JSON. No other room turns decisions into text.

`decision` has the data of a decision, from a `Delivery` or from a capture. `comment` writes it into a
packet's comment and reads it back; `sentences`, `steps`, `html` and `rows` show it to people and programs.
`socket_file` reads a table of sockets. Nothing here does I/O, starts a thread or reads a clock.
"""
