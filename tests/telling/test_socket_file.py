"""A file of sockets that was written by hand, or by nobody who meant well."""

import pytest

from demuxlab.demux.table import SocketTable
from demuxlab.telling.socket_file import SocketFileError, load

DNS = '{"name": "dns", "protocol": "udp", "local": ["10.0.0.2", 53]}'


@pytest.mark.parametrize("first", ["[]", '"[}"', "5", "{}", '{"sockets": [1]}', f"[{DNS}]"])
def test_of_a_key_given_twice_the_last_counts(first):
    # JSON allows a name twice: the last value counts, whatever the first one was.
    table = SocketTable()
    load(f'{{"sockets": {first}, "sockets": [{DNS}]}}', table)
    assert [socket.name for socket in table] == ["dns"]


def test_a_last_value_that_is_no_list_is_told():
    with pytest.raises(SocketFileError, match='a list "sockets"'):
        load(f'{{"sockets": [{DNS}], "sockets": 5}}', SocketTable())
