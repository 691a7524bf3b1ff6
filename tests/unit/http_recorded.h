/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers received and sent, recorded system call by system call: uvicorn 0.54
 * with httptools 0.9 and h11 0.16 on asyncio and on uvloop 0.21, hypercorn 0.18 on
 * asyncio, gunicorn 27 (-k asgi) on uvloop.
 */
#ifndef LS_TEST_HTTP_RECORDED_H
#define LS_TEST_HTTP_RECORDED_H

#include <stddef.h>
#include <stdint.h>

/* One system call: `text`, `repeat` times `byte`, `rest`. */
struct recorded_call {
	char direction;		/* R or S */
	uint32_t first_bytes;	/* of a gather write, else 0 */
	const char *text;
	size_t text_bytes;
	char byte;
	size_t repeat;
	const char *rest;
	size_t rest_bytes;
};

struct recorded_session {
	const char *name;
	struct recorded_call calls[10];
	const char *events;	/* see test_http.c */
};

#define CALL(direction, first, text) { direction, first, text, sizeof(text) - 1, 0, 0, "", 0 }
#define LONG_CALL(direction, first, text, byte, repeat, rest) \
	{ direction, first, text, sizeof(text) - 1, byte, repeat, rest, sizeof(rest) - 1 }

static const struct recorded_session recorded_sessions[] = {
	{ "httptools: keep-alive", {
		CALL('R', 0, "GET /plain?a=b HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:27 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\n"),
		CALL('S', 0, "ok"),
		CALL('R', 0, "GET /second HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:27 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\n"),
		CALL('S', 0, "ok"),
	  }, "B0 H36(GET /plain none) E36 S0(200) C2(length) B0 H33(GET /second none) E33 "
		"S0(200) C2(length)" },
	{ "httptools: head", {
		CALL('R', 0, "HEAD /plain HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:27 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\n"),
		CALL('R', 0, "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:27 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n\r\n"),
	  }, "B0 H33(HEAD /plain none) E33 S0(200) C118(none) B0 H34(HEAD /stream none) E34 "
		"S0(200) C99(none)" },
	{ "httptools: post", {
		CALL('R', 0, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:27 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 1\r\n\r\n"),
		CALL('S', 0, "5"),
	  }, "B0 H51(POST /echo length) E56 S0(200) C1(length)" },
	{ "httptools: post in two", {
		CALL('R', 0, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"),
		CALL('R', 0, "hello"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:28 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 1\r\n\r\n"),
		CALL('S', 0, "5"),
	  }, "B0 H51(POST /echo length) E5 S0(200) C1(length)" },
	{ "httptools: post chunked", {
		CALL('R', 0, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
			"\r\n"),
		CALL('R', 0, "5\r\nhello\r\n"),
		CALL('R', 0, "0\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:28 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 1\r\n\r\n"),
		CALL('S', 0, "5"),
	  }, "B0 H60(POST /echo chunked) E5 S0(200) C1(length)" },
	{ "httptools: 100-continue", {
		CALL('R', 0, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
			"Expect: 100-continue\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 100 Continue\r\n\r\n"),
		CALL('R', 0, "hello"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:29 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 1\r\n\r\n"),
		CALL('S', 0, "5"),
	  }, "B0 H73(POST /echo length expect) I0(100) E5 S0(200) C1(length)" },
	{ "httptools: stream", {
		CALL('R', 0, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:29 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"transfer-encoding: chunked\r\n\r\n"),
		CALL('S', 0, "5\r\nfirst\r\n"),
		LONG_CALL('S', 0, "258\r\n",
			  'x', 600, "\r\n"),
		CALL('S', 0, "4\r\nlast\r\n0\r\n\r\n"),
	  }, "B0 H33(GET /stream none) E33 S0(200) C14(chunked)" },
	{ "httptools: 204", {
		CALL('R', 0, "GET /204 HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 204 No Content\r\n"
			"date: Sat, 21 Nov 2026 17:07:29 GMT\r\nserver: uvicorn\r\n"
			"content-type: text/plain\r\n\r\n"),
	  }, "B0 H30(GET /204 none) E30 S0(204) C107(none)" },
	{ "httptools: 304", {
		CALL('R', 0, "GET /304 HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 304 Not Modified\r\n"
			"date: Sat, 21 Nov 2026 17:07:30 GMT\r\nserver: uvicorn\r\n"
			"content-type: text/plain\r\n\r\n"),
	  }, "B0 H30(GET /304 none) E30 S0(304) C109(none)" },
	{ "httptools: 404", {
		CALL('R', 0, "GET /404 HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 404 Not Found\r\n"
			"date: Sat, 21 Nov 2026 17:07:30 GMT\r\nserver: uvicorn\r\n"
			"content-type: text/plain\r\ncontent-length: 9\r\n\r\n"),
		CALL('S', 0, "not found"),
		LONG_CALL('R', 0, "            # Write response body\n            if self.scope["
			"\"method\"] == \"HEAD\":\n                self.expected_content_l"
			"ength = 0\n            elif self.chunked_encoding:\n          "
			"      if body:\n                    content = [b\"%x\\r\\n\" % le"
			"n(body), body, b\"\\r\\n\"]\n                else:\n              "
			"      content = []\n                if not more_body:\n       "
			"             content.append(b\"0\\r\\n\\r\\n\")\n                se"
			"lf.transport.write(b\"\".join(content))\n            else:\n    "
			"            num_bytes = len(body)\n                if num_byt"
			"es > self.expected_content_length:\n                    raise"
			" RuntimeError(\"Response content longer than Content-Length\")"
			"\n                else:\n                    self.expected_con"
			"tent_length -= num_bytes\n                self.transport.writ"
			"e(body)\n\n            # Handle response completion\n          "
			"  if not more_body:\n                if self.expected_content"
			"_length != 0:\n                    raise RuntimeError(\"Respon"
			"se content shorter than Content-Length\")\n                sel"
			"f.response_complete = True\n                self.message_even"
			"t.set()\n                if not self.keep_alive:\n            "
			"        self.transport.close()\n                self.on_resp",
			  'o', 885, ""),
		LONG_CALL('R', 0, "t[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()\n   "
			"     self.trusted_networks: set[ipaddress.IPv4Network | ipad"
			"dress.IPv6Network] = set()\n\n        # Notes:\n        # - We "
			"separate hosts from literals as there are many ways to write"
			"\n        #   an IPv6 Address so we need to compare by object"
			".\n        # - We don't convert IP Address to single host net"
			"works (e.g. /32 / 128) as\n        #   it more efficient to d"
			"o an address lookup in a set than check for\n        #   memb"
			"ership in each network.\n        # - We still allow literals "
			"as it might be possible that we receive a\n        #   someth"
			"ing that isn't an IP Address e.g. a unix socket.\n\n        if"
			" not self.always_trust:\n            if isinstance(trusted_ho"
			"sts, str):\n                trusted_hosts = _parse_raw_hosts("
			"trusted_hosts)\n\n            for host in trusted_hosts:\n     "
			"           # Note: because we always convert invalid IP type"
			"s to literals it\n                # is not possible for the u"
			"ser to know they provided a malformed IP\n                # t"
			"ype - this may lead to unexpected / difficult to debug behav"
			"iour.\n\n                if \"/\" in host:\n                    #"
			" Looks like a network\n                    try:\n",
			  ' ', 2138, ""),
	  }, "B0 H30(GET /404 none) E30 S0(404) C9(length)" },
	{ "httptools: 500", {
		CALL('R', 0, "GET /500 HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 500 Internal Server Error\r\n"
			"date: Sat, 21 Nov 2026 17:07:30 GMT\r\nserver: uvicorn\r\n"
			"content-type: text/plain; charset=utf-8\r\n"
			"content-length: 21\r\nconnection: close\r\n\r\n"),
		CALL('S', 0, "Internal Server Error"),
	  }, "B0 H30(GET /500 none) E30 S0(500) C21(length)" },
	{ "httptools: long head", {
		CALL('R', 0, "GET /big-headers HTTP/1.1\r\nHost: x\r\n\r\n"),
		LONG_CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:30 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\nx-a: ",
			  'a', 600, "\r\ncontent-length: 5\r\n\r\n"),
		CALL('S', 0, "hello"),
	  }, "B0 H38(GET /big-headers none) E38 S0(200)" },
	{ "httptools: pipelined", {
		CALL('R', 0, "GET /p0 HTTP/1.1\r\nHost: x\r\n\r\nGET /p1 HTTP/1.1\r\n"
			"Host: x\r\n\r\nGET /p2 HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:31 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\n"),
		CALL('S', 0, "ok"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:31 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\n"),
		CALL('S', 0, "ok"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:31 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\n"),
		CALL('S', 0, "ok"),
	  }, "B0 H29(GET /p0 none) E29 B29 H58(GET /p1 none) E58 B58 H87(GET /p2 none) E87 "
		"S0(200) C2(length) S0(200) C2(length) S0(200) C2(length)" },
	{ "httptools: tls", {
		CALL('R', 0, "\026\003\001\002\000\001\000\001\374\003\003"),
		CALL('S', 0, "HTTP/1.1 400 Bad Request\r\n"
			"date: Sat, 21 Nov 2026 17:07:31 GMT\r\nserver: uvicorn\r\n"
			"content-type: text/plain; charset=utf-8\r\n"
			"content-length: 30\r\nconnection: close\r\n\r\n"
			"Invalid HTTP request received."),
	  }, "S0(400) C192(length)" },
	{ "httptools: garbage", {
		CALL('R', 0, "hello there\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 400 Bad Request\r\n"
			"date: Sat, 21 Nov 2026 17:07:31 GMT\r\nserver: uvicorn\r\n"
			"content-type: text/plain; charset=utf-8\r\n"
			"content-length: 30\r\nconnection: close\r\n\r\n"
			"Invalid HTTP request received."),
	  }, "S0(400) C192(length)" },
	{ "httptools: websocket", {
		CALL('R', 0, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\n"
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			"Sec-WebSocket-Version: 13\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\n"
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
			"date: Sat, 21 Nov 2026 17:07:31 GMT\r\nserver: uvicorn\r\n\r\n"),
		CALL('R', 0, "\201\202\000\000\000\000hi"),
		CALL('S', 0, "\201\002hi"),
		CALL('S', 0, "\210\002\003\350"),
	  }, "B0 H142(GET /ws none websocket) E142 G0(101)" },
	{ "httptools: websocket refused", {
		CALL('R', 0, "GET /refuse HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\n"
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			"Sec-WebSocket-Version: 13\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 403 Forbidden\r\n"
			"Date: Sat, 21 Nov 2026 17:07:32 GMT\r\nConnection: close\r\n"
			"Content-Length: 0\r\nContent-Type: text/plain; charset=utf-8\r\n"
			"\r\n"),
	  }, "B0 H146(GET /refuse none websocket) E146 S0(403) C142(none)" },
	{ "httptools: http/1.0", {
		CALL('R', 0, "GET /stream HTTP/1.0\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:32 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"),
		CALL('S', 0, "5\r\nfirst\r\n"),
		LONG_CALL('S', 0, "258\r\n",
			  'x', 600, "\r\n"),
		CALL('S', 0, "4\r\nlast\r\n0\r\n\r\n"),
	  }, "B0 H33(GET /stream none) E33 S0(200) C14(chunked)" },
	{ "httptools: large", {
		CALL('R', 0, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:32 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 3000000\r\n\r\n"),
		LONG_CALL('S', 0, "",
			  'L', 3000000, ""),
	  }, "B0 H32(GET /large none) E32 S0(200) C3000000(length)" },
	{ "h11: 100-continue", {
		CALL('R', 0, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
			"Expect: 100-continue\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 100 Continue\r\n\r\n"),
		CALL('R', 0, "hello"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:29 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 1\r\n\r\n"),
		CALL('S', 0, "5"),
	  }, "B0 H73(POST /echo length expect) I0(100) E5 S0(200) C1(length)" },
	{ "h11: stream", {
		CALL('R', 0, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:29 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"Transfer-Encoding: chunked\r\n\r\n"),
		CALL('S', 0, "5\r\nfirst\r\n"),
		LONG_CALL('S', 0, "258\r\n",
			  'x', 600, "\r\n"),
		CALL('S', 0, "4\r\nlast\r\n"),
		CALL('S', 0, "0\r\n\r\n"),
	  }, "B0 H33(GET /stream none) E33 S0(200) C5(chunked)" },
	{ "h11: long head", {
		CALL('R', 0, "GET /big-headers HTTP/1.1\r\nHost: x\r\n\r\n"),
		LONG_CALL('S', 0, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:30 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\nx-a: ",
			  'a', 600, "\r\ncontent-length: 5\r\n\r\n"),
		CALL('S', 0, "hello"),
	  }, "B0 H38(GET /big-headers none) E38 S0(200)" },
	{ "httptools, uvloop: keep-alive", {
		CALL('R', 0, "GET /plain?a=b HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 118, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:34 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\nok"),
		CALL('R', 0, "GET /second HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 118, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:34 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\nok"),
	  }, "B0 H36(GET /plain none) E36 S0(200) C120(length) B0 H33(GET /second none) E33 "
		"S0(200) C120(length)" },
	{ "httptools, uvloop: stream", {
		CALL('R', 0, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 127, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:36 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"),
		LONG_CALL('S', 607, "258\r\n",
			  'x', 600, "\r\n4\r\nlast\r\n0\r\n\r\n"),
	  }, "B0 H33(GET /stream none) E33 S0(200) C621(chunked)" },
	{ "httptools, uvloop: 500", {
		CALL('R', 0, "GET /500 HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 172, "HTTP/1.1 500 Internal Server Error\r\n"
			"date: Sat, 21 Nov 2026 17:07:38 GMT\r\nserver: uvicorn\r\n"
			"content-type: text/plain; charset=utf-8\r\n"
			"content-length: 21\r\nconnection: close\r\n\r\n"
			"Internal Server Error"),
	  }, "B0 H30(GET /500 none) E30 S0(500) C193(length)" },
	{ "httptools, uvloop: long head", {
		CALL('R', 0, "GET /big-headers HTTP/1.1\r\nHost: x\r\n\r\n"),
		LONG_CALL('S', 725, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:38 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\nx-a: ",
			  'a', 600, "\r\ncontent-length: 5\r\n\r\nhello"),
	  }, "B0 H38(GET /big-headers none) E38 S0(200)" },
	{ "httptools, uvloop: pipelined", {
		CALL('R', 0, "GET /p0 HTTP/1.1\r\nHost: x\r\n\r\nGET /p1 HTTP/1.1\r\n"
			"Host: x\r\n\r\nGET /p2 HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 118, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:38 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\nok"),
		CALL('S', 118, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:38 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\nok"),
		CALL('S', 118, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:38 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\n\r\nok"),
	  }, "B0 H29(GET /p0 none) E29 B29 H58(GET /p1 none) E58 B58 H87(GET /p2 none) E87 "
		"S0(200) C120(length) S0(200) C120(length) S0(200) C120(length)" },
	{ "httptools, uvloop: websocket", {
		CALL('R', 0, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\n"
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			"Sec-WebSocket-Version: 13\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\n"
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
			"date: Sat, 21 Nov 2026 17:07:38 GMT\r\nserver: uvicorn\r\n\r\n"),
		CALL('R', 0, "\201\202\000\000\000\000hi"),
		CALL('S', 4, "\201\002hi\210\002\003\350"),
	  }, "B0 H142(GET /ws none websocket) E142 G0(101)" },
	{ "httptools, uvloop: large", {
		CALL('R', 0, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n"),
		LONG_CALL('S', 124, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 17:07:39 GMT\r\n"
			"server: uvicorn\r\ncontent-type: text/plain\r\n"
			"content-length: 3000000\r\n\r\n",
			  'L', 3000000, ""),
	  }, "B0 H32(GET /large none) E32 S0(200) C3000124(length)" },
	{ "hypercorn: head", {
		CALL('R', 0, "HEAD /plain HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 \r\ncontent-type: text/plain\r\n"
			"content-length: 2\r\ndate: Sat, 21 Nov 2026 17:07:35 GMT\r\n"
			"server: hypercorn-h11\r\n\r\n"),
		CALL('R', 0, "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 \r\ncontent-type: text/plain\r\n"
			"date: Sat, 21 Nov 2026 17:07:35 GMT\r\nserver: hypercorn-h11\r\n"
			"Transfer-Encoding: chunked\r\n\r\n"),
	  }, "B0 H33(HEAD /plain none) E33 S0(200) C122(none) B0 H34(HEAD /stream none) E34 "
		"S0(200) C131(none)" },
	{ "hypercorn: 100-continue", {
		CALL('R', 0, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
			"Expect: 100-continue\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 100 \r\ndate: Sat, 21 Nov 2026 17:07:36 GMT\r\n"
			"server: hypercorn-h11\r\n\r\n"),
		CALL('R', 0, "hello"),
		CALL('S', 0, "HTTP/1.1 200 \r\ncontent-type: text/plain\r\n"
			"content-length: 1\r\ndate: Sat, 21 Nov 2026 17:07:36 GMT\r\n"
			"server: hypercorn-h11\r\n\r\n"),
		CALL('S', 0, "5"),
	  }, "B0 H73(POST /echo length expect) I0(100) E5 S0(200) C1(length)" },
	{ "hypercorn: stream", {
		CALL('R', 0, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 \r\ncontent-type: text/plain\r\n"
			"date: Sat, 21 Nov 2026 17:07:37 GMT\r\nserver: hypercorn-h11\r\n"
			"Transfer-Encoding: chunked\r\n\r\n"),
		CALL('S', 0, "5\r\nfirst\r\n"),
		LONG_CALL('S', 0, "258\r\n",
			  'x', 600, "\r\n"),
		CALL('S', 0, "4\r\nlast\r\n"),
		CALL('S', 0, "0\r\n\r\n"),
	  }, "B0 H33(GET /stream none) E33 S0(200) C5(chunked)" },
	{ "hypercorn: http/1.0", {
		CALL('R', 0, "GET /stream HTTP/1.0\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 \r\ncontent-type: text/plain\r\n"
			"date: Sat, 21 Nov 2026 17:07:39 GMT\r\nserver: hypercorn-h11\r\n"
			"Connection: close\r\n\r\n"),
		CALL('S', 0, "first"),
		LONG_CALL('S', 0, "",
			  'x', 600, ""),
		CALL('S', 0, "last"),
	  }, "B0 H33(GET /stream none) E33 S0(200)" },
	{ "gunicorn, uvloop: post", {
		CALL('R', 0, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
			"content-length: 1\r\nServer: gunicorn/asgi\r\n"
			"Date: Sat, 21 Nov 2026 17:07:41 GMT\r\n\r\n5"),
	  }, "B0 H51(POST /echo length) E56 S0(200) C125(length)" },
	{ "gunicorn, uvloop: stream", {
		CALL('R', 0, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
			"transfer-encoding: chunked\r\nServer: gunicorn/asgi\r\n"
			"Date: Sat, 21 Nov 2026 17:07:43 GMT\r\n\r\n5\r\nfirst\r\n"),
		LONG_CALL('S', 607, "258\r\n",
			  'x', 600, "\r\n4\r\nlast\r\n0\r\n\r\n"),
	  }, "B0 H33(GET /stream none) E33 S0(200) C621(chunked)" },
	{ "gunicorn, uvloop: long head", {
		CALL('R', 0, "GET /big-headers HTTP/1.1\r\nHost: x\r\n\r\n"),
		LONG_CALL('S', 0, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-a: ",
			  'a', 600, "\r\ncontent-length: 5\r\nServer: gunicorn/asgi\r\n"
			"Date: Sat, 21 Nov 2026 17:07:45 GMT\r\n\r\nhello"),
	  }, "B0 H38(GET /big-headers none) E38 S0(200)" },
	{ "gunicorn, uvloop: http/1.0", {
		CALL('R', 0, "GET /stream HTTP/1.0\r\nHost: x\r\n\r\n"),
		CALL('S', 0, "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n"
			"Server: gunicorn/asgi\r\nDate: Sat, 21 Nov 2026 17:07:46 GMT\r\n"
			"Connection: close\r\n\r\nfirst"),
		LONG_CALL('S', 600, "",
			  'x', 600, "last"),
	  }, "B0 H33(GET /stream none) E33 S0(200)" },
};

#endif
