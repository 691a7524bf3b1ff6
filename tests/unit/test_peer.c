// SPDX-License-Identifier: Apache-2.0
/* Pairing, where clients, peers and probes are not as kind as usual. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attribute/shape.h"
#include "unit/peer_talk.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define READY "Z\0\0\0\5I"
#define SELECT_1 "Q\0\0\0\15select 1\0"
#define SELECT_REPLY "T\0\0\0\4D\0\0\0\4C\0\0\0\4" READY
#define CLIENT_HELLO \
	"\x16\3\1\0\x4c\1\0\0\x48\3\3" "0123456789abcdef0123456789abcdef" "\0" "\0\2\x13\1" "\1\0" \
	"\0\x1d" "\0\0\0\x0f\0\x0d\0\0\x0a" "db.example" "\0\x10\0\6\0\4\3foo"

static struct talk *talk_to(uint16_t port)
{
	static struct talk talk;

	talk = (struct talk){ .peer = peer_new(port) };
	assert_non_null(talk.peer);
	return &talk;
}

/* Closes, and compares every call since talk_to(). */
static void expect(struct talk *talk, const char *calls)
{
	peer_closed(talk->peer, ++talk->now, PEER_CLOSED, talk_call, talk);
	assert_string_equal(talk->calls, calls);
	peer_free(talk->peer);
	talk->peer = NULL;
}

static void sent_long(struct talk *talk, const char *head, size_t length, uint64_t bytes,
		      const char *tail)
{
	talk_bytes(talk, 'S', head, length, bytes, tail);
}

static void received_long(struct talk *talk, const char *head, size_t length, uint64_t bytes,
			  const char *tail)
{
	talk_bytes(talk, 'R', head, length, bytes, tail);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(protocol_name(PROTOCOL_UNKNOWN), "unknown");
	assert_string_equal(protocol_name(PROTOCOL_HTTP2), "http/2");
	assert_string_equal(protocol_name(PROTOCOL_TLS), "tls");
	assert_string_equal(protocol_name(PROTOCOL_COUNT), "unknown");
}

static void test_postgres_replies(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	/* a push with nothing outstanding, then one before the reply, then a large result */
	SEND(talk, SELECT_1);
	RECEIVE(talk, SELECT_REPLY);
	RECEIVE(talk, "A\0\0\0\x0e\0\0\0\1c\0hi\0\0");
	SEND(talk, SELECT_1);
	RECEIVE(talk, "A\0\0\0\x0e\0\0\0\1c\0hi\0\0");
	received_long(talk, "T\0\0\0\4D\0\0\x10\0abc", 13, 8192, "xxxxxxxx");
	received_long(talk, "Z\0\0\0\5Iyyy", 9, 8192, "yyyyZ\0\0\0");
	RECEIVE(talk, "\5I");
	assert_int_equal(talk->count, 2);
	/* the bytes of the end inside a value */
	SEND(talk, SELECT_1);
	RECEIVE(talk, "T\0\0\0\4D\0\0\0\x20..Z\0\0\0\5I");
	assert_int_equal(talk->count, 2);
	RECEIVE(talk, "01234567890123456789C\0\0\0\4" READY);
	assert_int_equal(talk->last.bytes_received, 49);
	expect(talk, "1 wait 1: 1 select ?\n2 wait 2: 1 select ?\n3 wait 1: 1 select ?\n");
}

static void test_postgres_error(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	SEND(talk, "Q\0\0\0\12BEGIN\0");
	RECEIVE(talk, "C\0\0\0\12BEGIN\0Z\0\0\0\5T");
	/* the error is in what was not seen: the transaction failed */
	SEND(talk, SELECT_1);
	received_long(talk, "T\0\0\0\4", 5, 4000, "xxZ\0\0\0\5E");
	SEND(talk, SELECT_1);
	RECEIVE(talk, "E\0\0\0\4Z\0\0\0\5E");
	expect(talk, "1 wait 1: 1 internal BEGIN\n2 wait 1: 1 error select ?\n"
		     "3 wait 1: 1 error select ?\n");
}

static void test_postgres_pipeline(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	/* provable: each of two replies is seen whole */
	SEND(talk, SELECT_1);
	SEND(talk, "Q\0\0\0\15select a\0");
	RECEIVE(talk, SELECT_REPLY SELECT_REPLY);
	/* not provable: the end of the first is somewhere in the unseen part */
	SEND(talk, SELECT_1);
	SEND(talk, SELECT_1);
	received_long(talk, "T\0\0\0\4D", 6, 900, "xxZ\0\0\0\5I");
	SEND(talk, SELECT_1);
	RECEIVE(talk, SELECT_REPLY);
	expect(talk, "1 wait 101: 1 select ?\n2 wait 1: 1 select a\n"
		     "3 wait 101: 1 unpaired select ?\n4 wait 1: 1 unpaired select ?\n"
		     "5 wait 1: 1 unpaired select ?\n");
}

/* Two at once, and of one of them the end was not seen. */
static void test_postgres_unseen(void **state)
{
	static const char start[] = "P\0\0\4\0\0select b";
	struct talk *talk = talk_to(5432);

	(void)state;
	sent_long(talk, start, sizeof(start) - 1, 1100, "ab\0S\0\0\0\4");
	RECEIVE(talk, SELECT_REPLY);
	SEND(talk, "Q\0\0\0\15select a\0");
	sent_long(talk, start, sizeof(start) - 1, 1100, "ab\0S\0\0\0\4");
	RECEIVE(talk, SELECT_REPLY);
	expect(talk, "1 wait 1: 1 select...\n2 wait 101: 1 unpaired select a\n"
		     "3 wait 1: 1 unpaired select...\n");
	talk = talk_to(5432);
	sent_long(talk, start, sizeof(start) - 1, 1100, "ab\0S\0\0\0\4");
	SEND(talk, "Q\0\0\0\15select a\0");
	RECEIVE(talk, SELECT_REPLY);
	expect(talk, "1 wait 101: 1 unpaired select...\n2 wait 1: 1 unpaired select a\n");
	/* prepared, and then another one is run */
	talk = talk_to(5432);
	SEND(talk, "P\0\0\0\21a\0select a\0\0\0H\0\0\0\4");
	RECEIVE(talk, "1\0\0\0\4");
	SEND(talk, "B\0\0\0\15\0z\0\0\0\0\0\0\0E\0\0\0\11\0\0\0\0\0S\0\0\0\4");
	RECEIVE(talk, "2\0\0\0\4C\0\0\0\4" READY);
	expect(talk, "1 wait 1: 1 internal select a\n2 wait 1: 1 -\n");
}

/* Statements and arguments longer than what is kept, as asyncpg and psycopg send them. */
static void test_postgres_long(void **state)
{
	static const char parse[] = "P\0\0\4\0a\0select 'secret";
	static const char bind[] = "B\0\0\4\0\0a\0\0\0\0\1\0\0\0\x10secret";
	struct talk *talk = talk_to(0);

	(void)state;
	sent_long(talk, parse, sizeof(parse) - 1, 1025 + 8 + 5, "a\0\0H\0\0\0\4");
	RECEIVE(talk, "1\0\0\0\4n\0\0\0\4");
	sent_long(talk, bind, sizeof(bind) - 1, 1025 + 10 + 5, "\0\0\0S\0\0\0\4");
	received_long(talk, "2\0\0\0\4D\0\0\x10", 9, 5000, "xxZ\0\0\0\5I");
	assert_int_equal(talk->count, 1);
	sent_long(talk, bind, sizeof(bind) - 1, 1025 + 10 + 5, "\0\0\0S\0\0\0\4");
	RECEIVE(talk, "2\0\0\0\4" READY);
	sent_long(talk, parse, sizeof(parse) - 1, 1025 + 5, "xxxS\0\0\0\4");
	RECEIVE(talk, "1\0\0\0\4" READY);
	SEND(talk, SELECT_1);
	RECEIVE(talk, SELECT_REPLY);
	expect(talk, "1 wait 2: 1 select ?...\n3 wait 1: 1 select ?...\n"
		     "4 wait 1: 1 internal select ?...\n5 wait 1: 1 select ?\n");
}

static void test_postgres_names(void **state)
{
	static const char start[] = "1 wait 1: 1 internal select a\n2 wait 1: 1 select ?\n"
				    "3 wait 1: 1 select a\n4 wait 1: 1 -\n";
	struct talk *talk = talk_to(0);
	char text[64];

	(void)state;
	/* prepared, not run: housekeeping; run later: the statement */
	SEND(talk, "P\0\0\0\21a\0select a\0\0\0S\0\0\0\4");
	RECEIVE(talk, "1\0\0\0\4" READY);
	SEND(talk, SELECT_1);
	RECEIVE(talk, SELECT_REPLY);
	SEND(talk, "B\0\0\0\15\0a\0\0\0\0\0\0\0E\0\0\0\11\0\0\0\0\0S\0\0\0\4");
	RECEIVE(talk, "2\0\0\0\4C\0\0\0\4" READY);
	/* of a name that was given before anyone looked */
	SEND(talk, "B\0\0\0\15\0z\0\0\0\0\0\0\0E\0\0\0\11\0\0\0\0\0S\0\0\0\4");
	RECEIVE(talk, "2\0\0\0\4C\0\0\0\4" READY);
	for (unsigned int i = 0; i < PEER_MAX_NAMES + 10; i++) {
		int length = snprintf(text, sizeof(text),
				      "P%c%c%c%cn%04u%cselect a%c%c%cS%c%c%c%c", 0, 0, 0, 21,
				      i, 0, 0, 0, 0, 0, 0, 0, 4);

		talk_piece(talk, 'S', text, (size_t)length);
		RECEIVE(talk, "1\0\0\0\4" READY);
	}
	assert_int_equal(peer_dropped(talk->peer), 12);
	/* what is closed makes room */
	SEND(talk, "C\0\0\0\14Sn0265\0S\0\0\0\4");
	RECEIVE(talk, "3\0\0\0\4" READY);
	SEND(talk, "P\0\0\0\21b\0select a\0\0\0S\0\0\0\4");
	RECEIVE(talk, "1\0\0\0\4" READY);
	assert_int_equal(peer_dropped(talk->peer), 12);
	peer_free(talk->peer);
	assert_memory_equal(talk->calls, start, sizeof(start) - 1);
}

static void test_postgres_tls(void **state)
{
	struct talk *talk = talk_to(5432);

	(void)state;
	SEND(talk, "\0\0\0\10\4\xd2\x16\x2f");
	RECEIVE(talk, "S");
	SEND(talk, CLIENT_HELLO);
	RECEIVE(talk, "\x16\3\3\0\2\2\0");
	SEND(talk, "\x14\3\3\0\1\1\x17\3\3\0\1x");
	SEND(talk, "\x17\3\3\0\4abcd");
	RECEIVE(talk, "\x17\3\3\0\4abcd");
	assert_int_equal(peer_protocol(talk->peer), PROTOCOL_TLS);
	assert_string_equal(peer_server_name(talk->peer), "db.example");
	expect(talk, "1 wait 1: 1 internal -\n2 wait 1: 1 unpaired internal -\n"
		     "3 wait 1: 1 unpaired -\n");
}

static void test_mysql(void **state)
{
	struct talk *talk = talk_to(3306);

	(void)state;
	/* prepare and execute; the header read by itself; a late rest; TLS */
	SEND(talk, "\16\0\0\0\26select a = ? ");
	RECEIVE(talk, "\14\0\0\1\0\7\0\0\0\1\0\1\0\0\0\0");
	SEND(talk, "\13\0\0\0\27\7\0\0\0\0\1\0\0\0\0");
	RECEIVE(talk, "\7\0\0\1");
	RECEIVE(talk, "\xff\1\2#abc");
	/* a rest that comes late is no answer; a result whose end is an OK */
	SEND(talk, "\11\0\0\0\3select a");
	RECEIVE(talk, "\5\0\0\11\xfe\0\0\2\0");
	RECEIVE(talk, "\1\0\0\1\1\3\0\0\2abc\2\0\0\3\0011\7\0\0\4\xfe\0\0\2\0\0\0");
	assert_int_equal(talk->count, 3);
	/* too large for one packet: the parts after the first are no calls */
	sent_long(talk, "\xff\xff\xff\0\3insert into t values ('secr", 31, 16777219, "12345678");
	SEND(talk, "\3\0\0\1abc");
	RECEIVE(talk, "\7\0\0\1\0\0\0\2\0\0\0");
	SEND(talk, "\5\0\0\0\31\7\0\0\0");
	expect(talk, "1 wait 1: 1 internal select a = ?\n2 wait 1: 1 error select a = ?\n"
		     "3 wait 2: 1 select a\n4 wait 1: 1 insert into t values (?...\n");
	talk = talk_to(0);
	RECEIVE(talk, "\x0b\0\0\0\x0a" "8.0.36\0abc");
	SEND(talk, "\x20\0\0\1\0\xaa\0\0" "0123456789abcdef0123456789ab");
	SEND(talk, CLIENT_HELLO);
	assert_int_equal(peer_protocol(talk->peer), PROTOCOL_TLS);
	expect(talk, "2 no reply: 1 failed unpaired internal -\n");
}

static void test_redis(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	/* two callers on one connection, both answered in one receive, a push between */
	SEND(talk, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
	SEND(talk, "*2\r\n$4\r\nHGET\r\n$1\r\nb\r\n");
	RECEIVE(talk, "$-1\r\n>2\r\n$1\r\nx\r\n:1\r\n*2\r\n:1\r\n*1\r\n-ERR x\r\n");
	assert_int_equal(talk->count, 2);
	/* a reply in pieces that begin anywhere */
	SEND(talk, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
	RECEIVE(talk, "$1");
	RECEIVE(talk, "0\r\n01234");
	RECEIVE(talk, "56789\r");
	assert_int_equal(talk->count, 2);
	RECEIVE(talk, "\n");
	assert_int_equal(talk->count, 3);
	/* a command in pieces */
	SEND(talk, "*2\r\n$3\r\nG");
	SEND(talk, "ET\r\n$1\r\na\r");
	SEND(talk, "\n");
	RECEIVE(talk, "_\r\n");
	/* a push between the replies to one send */
	SEND(talk, "*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n");
	RECEIVE(talk, "+OK\r\n>1\r\n$1\r\nx\r\n");
	assert_int_equal(talk->count, 4);
	RECEIVE(talk, ":1\r\n");
	/* arguments that are no names */
	SEND(talk, "*2\r\n$6\r\nsecret\r\n$6\r\nsecret\r\n*1\r\n$4\r\n\1\2\3\4\r\n");
	RECEIVE(talk, "+OK\r\n+OK\r\n");
	expect(talk, "1 wait 101: 1 GET\n2 wait 1: 1 error HGET\n3 wait 1: 1 GET\n4 wait 1: 1 GET\n"
		     "7 wait 1: 2 pipeline(A, B)\n8 wait 1: 2 pipeline(SECRET)\n");
}

static void test_redis_pipelines(void **state)
{
	struct talk *talk = talk_to(6379);

	(void)state;
	/* longer than what is kept, and a large reply: pairing by turns still holds */
	sent_long(talk, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n", 25, 9000, "$1\r\na\r\n");
	received_long(talk, "*1000\r\n$1\r\n", 11, 9000, "$1\r\nab\r\n");
	SEND(talk, "*1\r\n$4\r\nPING\r\n");
	RECEIVE(talk, "+PONG\r\n");
	/* two at once, the first one's reply not seen whole: no pairing any more */
	SEND(talk, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
	SEND(talk, "*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
	received_long(talk, "*1000\r\n$1\r\n", 11, 9000, "$1\r\nab\r\n");
	SEND(talk, "*2\r\n$3\r\nGET\r\n$1\r\nc\r\n");
	expect(talk, "1 wait 1: 1 pipeline(GET, ...)\n2 wait 1: 1 internal PING\n"
		     "3 wait 101: 1 unpaired GET\n4 wait 1: 1 unpaired GET\n"
		     "5 no reply: 1 failed unpaired GET\n");
}

static void test_http(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	/* the head of an interim reply does not fit, nor does a request in its body */
	SEND(talk, "POST /a/1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n");
	received_long(talk, "HTTP/1.1 103 Early Hints\r\nLink: x", 33, 200, "abcd\r\n\r\n");
	SEND(talk, "GET /secret HTTP/1.1\r\nHost: secret\r\n\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 100 Continue\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 503 No\r\n\r\n");
	RECEIVE(talk, "rest");
	/* answered before the body was sent */
	SEND(talk, "PUT /b HTTP/1.1\r\nContent-Length: 10\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 413 No\r\n\r\n");
	SEND(talk, "0123456789");
	/* of its target only a part is there */
	sent_long(talk, "GET /c/secret", 13, 900, "\r\n\r\n\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 200 OK\r\n\r\n");
	expect(talk, "1 wait 2: 1 error POST /a/{id}\n3 wait 1: 1 PUT /b\n");
	assert_int_equal(talk->last.bytes_sent, 39 + 10 + 900);
}

static void test_http_pipeline(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	SEND(talk, "GET /a HTTP/1.1\r\n\r\n");
	SEND(talk, "GET /b HTTP/1.1\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 No\r\n\r\n");
	SEND(talk, "GET /c HTTP/1.1\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 200 OK\r\n\r\n");
	expect(talk, "1 wait 101: 1 unpaired GET /a\n2 wait 1: 1 unpaired GET /b\n"
		     "3 wait 1: 1 unpaired GET /c\n");
	/* a proxy, then TLS through it; and a socket of the web */
	talk = talk_to(8080);
	SEND(talk, "CONNECT host:443 HTTP/1.1\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 200 OK\r\n\r\n");
	SEND(talk, CLIENT_HELLO);
	assert_int_equal(peer_protocol(talk->peer), PROTOCOL_TLS);
	expect(talk, "1 wait 1: 1 CONNECT\n2 no reply: 1 failed unpaired internal -\n");
	talk = talk_to(0);
	SEND(talk, "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 101 Switching\r\n\r\n");
	SEND(talk, "\x81\5hello");
	RECEIVE(talk, "\x81\5hello");
	expect(talk, "1 wait 1: 1 GET /ws\n");
	assert_int_equal(talk->last.bytes_sent, 40);
}

#define FIND(id, flags) \
	"\x27\0\0\0" id "\0\0\0\0\0\0\0\xdd\7\0\0" flags "\0\0\0\0\x12\0\0\0\2find\0\3\0\0\0it\0\0"
#define FOUND(id) \
	"\x26\0\0\0\0\0\0\0" id "\0\0\0\xdd\7\0\0" "\0\0\0\0\0\x11\0\0\0\1ok\0\0\0\0\0\0\0\0\0\0"

static void test_ids(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	SEND(talk, FIND("\1", "\0"));
	SEND(talk, FIND("\2", "\0"));
	SEND(talk, FIND("\3", "\2"));
	RECEIVE(talk, FOUND("\2"));
	RECEIVE(talk, FOUND("\7"));
	RECEIVE(talk, FOUND("\1"));
	expect(talk, "3 no reply: 1 find it\n2 wait 101: 1 error find it\n"
		     "1 wait 203: 1 error find it\n");
	talk = talk_to(53);
	SEND(talk, "\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1");
	SEND(talk, "\0\2\1\0\0\1\0\0\0\0\0\0\1a\0\0\x1c\0\1");
	RECEIVE(talk, "\0\2\x81\x83\0\1\0\0\0\0\0\0\1a\0\0\x1c\0\1");
	RECEIVE(talk, "\0\1\x81\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1");
	assert_int_equal(peer_protocol(talk->peer), PROTOCOL_DNS);
	expect(talk, "2 wait 1: 1 error -\n1 wait 102: 1 -\n");
}

static void test_unpaired(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	SEND(talk, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
	SEND(talk, "\0\0\1\1\5\0\0\0\1x\0\0\1\1\5\0\0\0\3x");
	SEND(talk, "\0\0\4\0\1\0\0\0\3abcd");
	RECEIVE(talk, "\0\0\1\1\4\0\0\0\1x");
	SEND(talk, "\0\0\4\10\0\0\0\0\0\0\0\1\0");
	assert_int_equal(peer_protocol(talk->peer), PROTOCOL_HTTP2);
	expect(talk, "2 wait 101: 1 unpaired -\n2 wait 1: 1 unpaired -\n");
	/* settings and a window answer nobody, in one piece or in two */
	talk = talk_to(0);
	SEND(talk, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\1\1\5\0\0\0\1x");
	RECEIVE(talk, "\0\0\0\4\0\0\0\0\0\0\0\4\10\0\0\0\0\0\0\0");
	RECEIVE(talk, "\1\0\0\0\0\4\1\0\0\0\0");
	RECEIVE(talk, "\0\0\1\1\4\0\0\0\1x");
	expect(talk, "1 wait 3: 1 unpaired -\n");
	talk = talk_to(5672);
	SEND(talk, "AMQP\0\0\11\1");
	RECEIVE(talk, "\1\0\0\0\0\0\4abcd\xce");
	SEND(talk, "\1\0\1\0\0\0\4abcd\xce\2\0\1\0\0\0\1x\xce");
	SEND(talk, "\3\0\1\0\0\0\1x\xce");
	SEND(talk, "\10\0\0\0\0\0\0\xce");
	RECEIVE(talk, "\10\0\0\0\0\0\0\xce");
	RECEIVE(talk, "\1\0\1\0\0\0\4abcd\xce");
	assert_int_equal(peer_protocol(talk->peer), PROTOCOL_AMQP);
	expect(talk, "1 wait 1: 1 unpaired internal -\n2 wait 102: 1 unpaired -\n");
	/* what is published has no answer, where none was asked for */
	talk = talk_to(5672);
	SEND(talk, "AMQP\0\0\11\1");
	RECEIVE(talk, "\1\0\0\0\0\0\4abcd\xce");
	SEND(talk, "\1\0\1\0\0\0\4\0\74\0\50\xce\2\0\1\0\0\0\1x\xce");
	assert_true(talk->last.silent);
	SEND(talk, "\1\0\1\0\0\0\4\0\125\0\12\xce");
	RECEIVE(talk, "\1\0\1\0\0\0\4\0\125\0\13\xce");
	SEND(talk, "\1\0\1\0\0\0\4\0\74\0\50\xce\2\0\1\0\0\0\1x\xce");
	RECEIVE(talk, "\1\0\1\0\0\0\4\0\74\0\120\xce");
	expect(talk, "1 wait 1: 1 unpaired internal -\n2 no reply: 1 unpaired -\n"
		     "3 wait 1: 1 unpaired -\n4 wait 1: 1 unpaired -\n");
	assert_false(talk->last.silent);
	talk = talk_to(9092);
	SEND(talk, "\0\0\0\14\0\3\0\1\0\0\0\1\0\2me");
	SEND(talk, "\0\0\0\14\0\3\0\1\0\0\0\2\0\2me");
	RECEIVE(talk, "\0\0\0\4\0\0\0\1");
	assert_int_equal(peer_protocol(talk->peer), PROTOCOL_KAFKA);
	expect(talk, "1 wait 101: 1 unpaired -\n2 wait 1: 1 unpaired -\n");
	talk = talk_to(0);
	SEND(talk, "hello");
	SEND(talk, "there");
	RECEIVE(talk, "general");
	RECEIVE(talk, "kenobi");
	assert_int_equal(peer_protocol(talk->peer), PROTOCOL_UNKNOWN);
	expect(talk, "1 wait 1: 1 unpaired -\n");
}

/* Seen from the middle on; the port decides only where the bytes do not. */
static void test_learn(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		uint16_t port;
		char way;
		enum protocol protocol;
	} cases[] = {
#define BYTES(text) text, sizeof(text) - 1
		{ BYTES("B\0\0\0\15\0z\0\0\0\0\0\0\0S\0\0\0\4"), 0, 'S', PROTOCOL_POSTGRES },
		{ BYTES("S\0\0\0\4"), 0, 'S', PROTOCOL_POSTGRES },
		{ BYTES("Q\0\0\0\6a\0b"), 0, 'S', PROTOCOL_UNKNOWN },
		{ BYTES(SELECT_REPLY), 5432, 'R', PROTOCOL_POSTGRES },
		{ BYTES(SELECT_REPLY), 0, 'R', PROTOCOL_UNKNOWN },
		{ BYTES("*1\r\n$4\r\nPING\r\n"), 80, 'S', PROTOCOL_REDIS },
		{ BYTES("*1x"), 6379, 'S', PROTOCOL_UNKNOWN },
		{ BYTES("\11\0\0\0\3select 1"), 0, 'S', PROTOCOL_MYSQL },
		{ BYTES("\11\0\0\0\3select 1x"), 0, 'S', PROTOCOL_UNKNOWN },
		{ BYTES(FIND("\1", "\0")), 0, 'S', PROTOCOL_MONGODB },
		{ BYTES(FOUND("\1")), 0, 'R', PROTOCOL_MONGODB },
		{ BYTES("DELETE /a HTTP/1.0\r\n"), 0, 'S', PROTOCOL_HTTP1 },
		{ BYTES("GET out of here\r\n"), 0, 'S', PROTOCOL_UNKNOWN },
		{ BYTES("HTTP/1.1 204 No Content\r\n"), 0, 'R', PROTOCOL_HTTP1 },
		{ BYTES("\x17\3\3\0\4abcd"), 0, 'S', PROTOCOL_TLS },
		{ BYTES("\10\0\0\0\0\0\0\xce"), 0, 'S', PROTOCOL_AMQP },
		{ BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"), 80, 'S', PROTOCOL_UNKNOWN },
#undef BYTES
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talk *talk = talk_to(cases[i].port);

		talk_piece(talk, cases[i].way, cases[i].text, cases[i].length);
		assert_string_equal(protocol_name(peer_protocol(talk->peer)),
				    protocol_name(cases[i].protocol));
		/* once known, it stays */
		SEND(talk, "GET / HTTP/1.1\r\n\r\n");
		if (cases[i].protocol != PROTOCOL_UNKNOWN)
			assert_int_equal(peer_protocol(talk->peer), cases[i].protocol);
		peer_free(talk->peer);
	}
}

static void test_ends(void **state)
{
	struct talk *talk = talk_to(0);
	struct peer_data early = { .time_ns = 90, .last_ns = 95, .bytes = 10,
				   .head = (const uint8_t *)"+OK\r\n+OK\r\n", .head_bytes = 10 };

	(void)state;
	/* the reply was there before the send returned; then a reset with one unanswered */
	SEND(talk, "*1\r\n$4\r\nPING\r\n");
	assert_int_equal(peer_received(talk->peer, &early, talk_call, talk), 0);
	assert_int_equal(talk->last.reply_ns, talk->last.sent_ns);
	SEND(talk, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
	peer_closed(talk->peer, 777, PEER_RESET, talk_call, talk);
	assert_int_equal(talk->last.end_ns, 777);
	expect(talk, "1 wait 0: 1 internal PING\n2 no reply: 1 failed GET\n");
	talk = talk_to(0);
	SEND(talk, "GET /a HTTP/1.1\r\n\r\n");
	RECEIVE(talk, "HTTP/1.1 200 OK\r\n\r\n");
	peer_settle(talk->peer, talk->now, talk_call, talk);
	assert_int_equal(talk->count, 0);
	peer_settle(talk->peer, talk->now + 1, talk_call, talk);
	assert_int_equal(talk->count, 1);
	SEND(talk, "GET /b HTTP/1.1\r\n\r\n");
	peer_settle(talk->peer, UINT64_MAX, talk_call, talk);
	assert_int_equal(talk->count, 1);
	peer_open(talk->peer, 555, talk_call, talk);
	assert_int_equal(talk->last.end_ns, 555);
	expect(talk, "1 wait 1: 1 GET /a\n2 no reply: 1 GET /b\n");
}

/* The statement of the last call that was made, as far as its name tells. */
#define STATEMENT(talk, bytes) \
	(SEND(talk, bytes), peer_closed(talk->peer, talk->now, PEER_CLOSED, talk_call, talk), \
	 assert_null(talk->last.shape), talk->last.statement)

/* Statements that were prepared before anybody looked are told apart by their names. */
static void test_names_of_statements(void **state)
{
	struct talk *talk = talk_to(5432);
	uint64_t z, y;

	(void)state;
	z = STATEMENT(talk, "B\0\0\0\15\0z\0\0\0\0\0\0\0E\0\0\0\11\0\0\0\0\0S\0\0\0\4");
	y = STATEMENT(talk, "B\0\0\0\15\0y\0\0\0\0\0\0\0E\0\0\0\11\0\0\0\0\0S\0\0\0\4");
	assert_true(z && y && z != y);
	assert_int_equal(STATEMENT(talk, "B\0\0\0\15\0z\0\0\0\0\0\0\0"
					 "E\0\0\0\11\0\0\0\0\0S\0\0\0\4"), z);
	/* the one without a name may be any */
	assert_int_equal(STATEMENT(talk, "B\0\0\0\14\0\0\0\0\0\0\0\0"
					 "E\0\0\0\11\0\0\0\0\0S\0\0\0\4"), 0);
	peer_free(talk->peer);
}

static bool is_second(void *context, const struct peer_call *call)
{
	*(bool *)context = call->due;
	return call->token == 2;
}

/* A client that waits no longer, and peers that nobody waits for. */
static void test_given_up(void **state)
{
	struct talk *talk = talk_to(0);
	bool due = false;

	(void)state;
	SEND(talk, "GET /a HTTP/1.1\r\n\r\n");
	peer_closed(talk->peer, 500, PEER_GIVEN_UP, talk_call, talk);
	assert_true(talk->last.failed && talk->last.given_up && talk->last.due);
	assert_int_equal(talk->last.end_ns, 500);
	SEND(talk, "GET /b HTTP/1.1\r\n\r\n");
	peer_not_waited(talk->peer, 600, is_second, &due);
	assert_true(due);
	peer_not_waited(talk->peer, 700, is_second, &due);
	peer_closed(talk->peer, 900, PEER_GIVEN_UP, talk_call, talk);
	assert_true(talk->last.given_up && talk->last.due);
	assert_int_equal(talk->last.end_ns, 600);
	SEND(talk, "GET /c HTTP/1.1\r\n\r\n");
	peer_closed(talk->peer, 999, PEER_CLOSED, talk_call, talk);
	assert_true(talk->last.failed && talk->last.due && !talk->last.given_up);
	SEND(talk, "GET /d HTTP/1.1\r\n\r\n");
	peer_gap(talk->peer, talk_call, talk);
	assert_false(talk->last.due);
	peer_free(talk->peer);
	/* it is only ever told something */
	talk = talk_to(0);
	SEND(talk, "a line for the log\n");
	SEND(talk, "another one\n");
	peer_closed(talk->peer, 500, PEER_GIVEN_UP, talk_call, talk);
	assert_true(talk->count && talk->last.silent && !talk->last.due);
	assert_true(!talk->last.failed && !talk->last.given_up);
	SEND(talk, "what time is it?\n");
	RECEIVE(talk, "late\n");
	SEND(talk, "and now?\n");
	peer_closed(talk->peer, 500, PEER_GIVEN_UP, talk_call, talk);
	assert_true(talk->last.given_up && talk->last.due);
	peer_free(talk->peer);
}

static bool is_any(void *context, const struct peer_call *call)
{
	(void)context;
	return call->token != 0;
}

/* A peer that talks by itself, on a connection where nothing tells what it talks about. */
static void test_not_waited(void **state)
{
	struct talk *talk = talk_to(0);

	(void)state;
	SEND(talk, "hello\n");
	RECEIVE(talk, "still here\n");
	SEND(talk, "a line\n");
	peer_not_waited(talk->peer, talk->now, is_any, NULL);
	talk->now += 100;
	RECEIVE(talk, "still here\n");
	peer_closed(talk->peer, talk->now, PEER_CLOSED, talk_call, talk);
	assert_int_equal(talk->last.reply_ns, 0);
	assert_false(talk->last.due);
	/* each of several of them is one, and none of them is answered */
	for (int i = 0; i < 3; i++) {
		SEND(talk, "a line\n");
		peer_not_waited(talk->peer, talk->now, is_any, NULL);
		talk->now += 100;
	}
	assert_true(talk->last.silent);
	RECEIVE(talk, "still here\n");
	peer_closed(talk->peer, talk->now, PEER_CLOSED, talk_call, talk);
	assert_int_equal(talk->count, 5);
	assert_int_equal(talk->last.reply_ns, 0);
	peer_free(talk->peer);
	/* one that goes on with the next request is waited for again */
	talk = talk_to(0);
	SEND(talk, "POST /a HTTP/1.1\r\ncontent-length: 4\r\n\r\nab");
	peer_not_waited(talk->peer, talk->now, is_any, NULL);
	talk->now += 100;
	SEND(talk, "cd");
	peer_closed(talk->peer, talk->now + 50, PEER_GIVEN_UP, talk_call, talk);
	assert_true(talk->last.due);
	assert_true(talk->last.end_ns > talk->last.sent_ns);
	peer_free(talk->peer);
}

static void test_gap(void **state)
{
	static const char start[] = "1 no reply: 1 unpaired select ?\n2 wait 1: 1 select ?\n"
				    "3 wait 101: 1 select ?\n";
	struct talk *talk = talk_to(0);

	(void)state;
	SEND(talk, SELECT_1);
	peer_gap(talk->peer, talk_call, talk);
	SEND(talk, SELECT_1);
	RECEIVE(talk, SELECT_REPLY);
	/* a reply that nobody saw: the count stays wrong until it is given up */
	for (int i = 0; i < 40; i++) {
		SEND(talk, SELECT_1);
		if (i)
			RECEIVE(talk, SELECT_REPLY);
	}
	assert_true(talk->last.unpaired);
	assert_memory_equal(talk->calls, start, sizeof(start) - 1);
	peer_free(talk->peer);
}

static void test_bounds(void **state)
{
	struct talk *talk = talk_to(0);
	struct shape_set *set = shape_set_new(3);
	char text[64];

	(void)state;
	for (int i = 0; i < PEER_MAX_CALLS + 6; i++)
		SEND(talk, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
	assert_int_equal(talk->count, 6);
	assert_int_equal(peer_dropped(talk->peer), 6);
	assert_true(talk->last.unpaired);
	peer_free(talk->peer);
	talk = talk_to(0);
	assert_non_null(set);
	peer_share_shapes(talk->peer, set);
	for (int i = 0; i < 10; i++) {
		int length = snprintf(text, sizeof(text), "GET /page%c HTTP/1.1\r\n\r\n", 'a' + i);

		talk_piece(talk, 'S', text, (size_t)length);
		RECEIVE(talk, "HTTP/1.1 200 OK\r\n\r\n");
	}
	assert_int_equal(peer_dropped(talk->peer), 7);
	peer_closed(talk->peer, 1, PEER_CLOSED, talk_call, talk);
	assert_string_equal(talk->last.shape, SHAPE_OTHER);
	peer_free(talk->peer);
	shape_set_free(set);
	peer_free(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_postgres_replies),
		cmocka_unit_test(test_postgres_error),
		cmocka_unit_test(test_postgres_pipeline),
		cmocka_unit_test(test_postgres_unseen),
		cmocka_unit_test(test_postgres_long),
		cmocka_unit_test(test_postgres_names),
		cmocka_unit_test(test_postgres_tls),
		cmocka_unit_test(test_mysql),
		cmocka_unit_test(test_redis),
		cmocka_unit_test(test_redis_pipelines),
		cmocka_unit_test(test_http),
		cmocka_unit_test(test_http_pipeline),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_unpaired),
		cmocka_unit_test(test_learn),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_names_of_statements),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_not_waited),
		cmocka_unit_test(test_gap),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
