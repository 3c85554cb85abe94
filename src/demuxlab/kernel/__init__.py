"""The sockets of the machine that this runs on, and the kernel's lookup among them, explained.

`netlink`, `processes`, `options`, `programs` and `firewall` ask the kernel; `snapshot` puts together what
they found. `table`, `decision`, `rules`, `nearest` and `binding` are pure: from records to an answer.
`demuxlab why` prints the answer. Nothing on the machine is changed.
"""
