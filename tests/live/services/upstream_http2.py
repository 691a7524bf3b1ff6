# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 server whose answers take as long as their path says: /MS.

    python upstream_http2.py PORT TLS_PORT CERTIFICATE KEY
"""

import asyncio
import ssl
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived


class Http2(asyncio.Protocol):
    def __init__(self):
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))

    def connection_made(self, transport):
        self.transport = transport
        self.http.initiate_connection()
        self.flush()

    def flush(self):
        self.transport.write(self.http.data_to_send())

    def data_received(self, data):
        for event in self.http.receive_data(data):
            if isinstance(event, RequestReceived):
                seconds = int(dict(event.headers)[":path"][1:]) / 1e3
                asyncio.get_running_loop().call_later(seconds, self.answer, event.stream_id)
        self.flush()

    def answer(self, stream):
        self.http.send_headers(stream, [(":status", "200"), ("content-length", "2")])
        self.http.send_data(stream, b"{}", end_stream=True)
        self.flush()


async def main(port, tls_port, certificate, key):
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    await loop.create_server(Http2, "127.0.0.1", port)
    await loop.create_server(Http2, "127.0.0.1", tls_port, ssl=context)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
