"""asyncio's streams and datagrams on our sockets, handed over as `sock`."""

import asyncio

from demuxlab import sockets


def test_streams():
    async def main():
        async def echo(reader, writer):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()

        listener = sockets.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(echo, sock=listener)
        own = sockets.socket()
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, listener.getsockname())
        reader, writer = await asyncio.open_connection(sock=own)
        data = bytes(range(256)) * 8000

        async def send():
            writer.write(data)
            await writer.drain()
            writer.write_eof()

        _, received = await asyncio.gather(send(), reader.read(-1))
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return received == data

    assert asyncio.run(main())


def test_many_clients_at_once():
    async def main():
        async def answer(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        listener = sockets.create_server(("127.0.0.1", 0), backlog=200)
        server = await asyncio.start_server(answer, sock=listener)

        async def ask(number):
            own = sockets.socket()
            own.setblocking(False)
            await asyncio.get_running_loop().sock_connect(own, listener.getsockname())
            reader, writer = await asyncio.open_connection(sock=own)
            writer.write(b"client %d\n" % number)
            line = await reader.readline()
            writer.close()
            return line

        lines = await asyncio.gather(*map(ask, range(100)))
        server.close()
        return lines

    assert asyncio.run(main()) == [b"CLIENT %d\n" % number for number in range(100)]


def test_datagrams():
    class Answer(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data[::-1], address)

    async def main():
        loop = asyncio.get_running_loop()
        own = sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM)
        own.bind(("127.0.0.1", 0))
        transport, _ = await loop.create_datagram_endpoint(Answer, sock=own)
        with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(own.getsockname())
            client.send(b"abc")
            answer = await loop.sock_recv(client, 10)
        transport.close()
        return answer

    assert asyncio.run(main()) == b"cba"
