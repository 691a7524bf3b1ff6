# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 server whose answers take as long as their path says.

    python upstream.py PORT TLS_PORT CERTIFICATE KEY

/delay/MS, /status/CODE; /never takes the request and is silent; /reset resets the
connection. Everything else is answered at once. A DNS server at names_at() answers after
20 ms: a7.test is at 127.9.0.7, alias-NAME is another name of NAME, everything else is
at 127.0.0.1; of addresses of another kind there are none.
"""

import asyncio
import socket
import ssl
import struct
import sys

RESET = struct.pack("ii", 1, 0)


async def read_request(reader):
    """The path; None: the client is gone."""
    line = await reader.readline()
    if not line:
        return None
    length = 0
    while (header := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = header.decode("latin-1").partition(":")
        if name.lower() == "content-length":
            length = int(value)
    await reader.readexactly(length)
    return line.decode("latin-1").split()[1].partition("?")[0]


async def serve(reader, writer):
    try:
        while path := await read_request(reader):
            _, what, value, *_ = [*path.split("/"), "", ""]
            status = 200
            if what == "delay":
                await asyncio.sleep(float(value) / 1e3)
            elif what == "status":
                status = int(value)
            elif what == "never":
                await reader.read()
            elif what == "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                break
            body = b'{"upstream": true}'
            writer.write(
                f"HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
        pass
    finally:
        writer.close()


def record(kind, data):
    """An answer's record, of the name that stands at 12."""
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def address_of(label):
    number = label.removeprefix(b"a")
    return f"127.9.0.{int(number)}" if number.isdigit() else "127.0.0.1"


class Names(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        end = data.index(b"\0", 12)
        label = data[13 : 13 + data[12]]
        found = []
        if data[end + 1 : end + 3] == b"\0\1":
            real = label.removeprefix(b"alias-")
            address = socket.inet_aton(address_of(real))
            if real != label:
                # the rest of it is where the first label of the question ends
                pointer = bytes([0xC0, 13 + data[12]])
                found.append(record(5, bytes([len(real)]) + real + pointer))
                at = 12 + (end + 5 - 12) + 12
                name = struct.pack("!H", 0xC000 | at)
                found.append(name + record(1, address)[2:])
            else:
                found.append(record(1, address))
        header = data[:2] + struct.pack("!HHHHH", 0x8180, 1, len(found), 0, 0)
        asyncio.get_running_loop().call_later(
            0.02, self.transport.sendto, header + data[12 : end + 5] + b"".join(found), addr
        )


def names_at(port):
    """Where the name server beside that port is: several may run at the same time."""
    return f"127.53.{port >> 8}.{port & 255}", 53


async def main(port, tls_port, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # Every address of the loopback network is a peer of its own.
    await asyncio.start_server(serve, "0.0.0.0", port, backlog=1024)
    await asyncio.start_server(serve, "127.0.0.1", tls_port, ssl=context)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Names, local_addr=names_at(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
