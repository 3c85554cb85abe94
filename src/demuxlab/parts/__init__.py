"""The parts of a plain TCP, as labs 17 to 21 ask for them: ours stand in for those not yet written.

`sender` (17), `receiver` (18), `machine` (19), `controller` (20) and `connection` (21) share the `Segment` of
`segment`. `link` is a link in virtual time that loses, repeats, reorders and corrupts by a seed; `simulation`
lets two ends talk over it. Everything here is pure: time is an argument, nothing is sent, only returned.
"""
