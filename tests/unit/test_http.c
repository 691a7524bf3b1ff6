// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attribute/http.h"
#include "http_recorded.h"

#define RECEIVE_KEPT 512
#define SEND_KEPT 24
#define ALL SIZE_MAX

/*
 * What was reported, as text.  Requests: B begin, H head, E end, R retracted,
 * U unseen; responses: I interim, S started, G upgraded, C complete, N unseen.
 * Each with its offset; ~ uncertain.
 */
struct story {
	char text[4096];
	struct http_request_stream in;
	struct http_response_stream out;
	struct http_request last;
	uint64_t head_requests;
	bool resync;		/* when a response starts, as a caller should */
};

static const char *const bodies[] = {
	[HTTP_BODY_NONE] = "none", [HTTP_BODY_LENGTH] = "length", [HTTP_BODY_CHUNKED] = "chunked",
	[HTTP_BODY_UNKNOWN] = "unknown", [HTTP_BODY_CLOSE] = "close",
};

__attribute__((format(printf, 2, 3))) static void tell(struct story *story, const char *format, ...)
{
	size_t length = strlen(story->text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(story->text + length, sizeof(story->text) - length, format, arguments);
	va_end(arguments);
}

static void on_request(void *context, const struct http_request_event *event)
{
	const struct http_request *request = event->request;
	struct story *story = context;

	if (request)
		story->last = *request;
	tell(story, "%s%c%s%llu", story->text[0] ? " " : "", "BHERU"[event->kind],
	     event -> uncertain ? "~" : "", (unsigned long long)event->offset);
	if (event->kind != HTTP_REQUEST_HEAD)
		return;
	tell(story, "(%s%s %s %s%s%s)", request->method, request->method_cut ? "+" : "",
	     request->path, bodies[request->body], request->expect_continue ? " expect" : "",
	     request->upgrade_websocket ? " websocket" : "");
}

static void on_response(void *context, const struct http_response_event *event)
{
	struct story *story = context;

	tell(story, "%s%c%s%llu", story->text[0] ? " " : "", "ISGCN"[event->kind],
	     event -> uncertain ? "~" : "", (unsigned long long)event->offset);
	if (event->kind == HTTP_RESPONSE_COMPLETE)
		tell(story, "(%s)", bodies[event->body]);
	else if (event->kind != HTTP_RESPONSE_UNSEEN)
		tell(story, "(%u)", event->status);
	if (event->kind == HTTP_RESPONSE_STARTED && story->resync)
		http_request_resync(&story->in);
}

/* Keeps of the bytes what probes would; a heap copy of exactly that shows reads beyond. */
static void feed(struct story *story, char direction, const char *text, size_t bytes,
		 size_t kept, size_t tail, uint32_t first_bytes)
{
	struct http_bytes part = { .bytes = bytes, .first_bytes = first_bytes };
	uint8_t *head;

	part.head_bytes = bytes < kept ? bytes : kept;
	part.tail_bytes = bytes < tail ? bytes : tail;
	head = malloc(part.head_bytes + !part.head_bytes);
	assert_non_null(head);
	memcpy(head, text, part.head_bytes);
	memcpy(part.tail, text + bytes - part.tail_bytes, part.tail_bytes);
	part.head = head;
	if (direction == 'R')
		assert_int_equal(http_receive(&story->in, &part, on_request, story), 0);
	else
		assert_int_equal(http_send(&story->out, &part, story->head_requests, on_response,
					   story), 0);
	free(head);
}

static void feed_text(struct story *story, char direction, const char *text)
{
	size_t length = strlen(text), kept = RECEIVE_KEPT;

	if (direction == 'S' && strncmp(text, "HTTP/1", 6))
		kept = SEND_KEPT;
	feed(story, direction, text, length, kept, LS_TAIL_BYTES, 0);
}

static void expect(struct story *story, const char *text)
{
	assert_string_equal(story->text, text);
	story->text[0] = '\0';
}

/* One stream, receives separated by '|'. */
static void expect_requests(const char *text, const char *events)
{
	struct story story = { .text = "" };
	const char *end;

	for (; (end = strchr(text, '|')); text = end + 1)
		feed(&story, 'R', text, (size_t)(end - text), RECEIVE_KEPT, LS_TAIL_BYTES, 0);
	feed_text(&story, 'R', text);
	expect(&story, events);
}

static void expect_responses(uint64_t head_requests, const char *text, const char *events)
{
	struct story story = { .text = "", .head_requests = head_requests };
	const char *end;

	for (; (end = strchr(text, '|')); text = end + 1)
		feed(&story, 'S', text, (size_t)(end - text),
		     strncmp(text, "HTTP/1", 6) ? SEND_KEPT : RECEIVE_KEPT, LS_TAIL_BYTES, 0);
	feed_text(&story, 'S', text);
	expect(&story, events);
}

static void play(const struct recorded_session *session, bool keep_all, struct story *story)
{
	memset(story, 0, sizeof(*story));
	story->resync = true;
	for (size_t i = 0; i < 10 && session->calls[i].text; i++) {
		const struct recorded_call *call = &session->calls[i];
		size_t bytes = call->text_bytes + call->repeat + call->rest_bytes;
		size_t kept = RECEIVE_KEPT;
		char *text = malloc(bytes);

		assert_non_null(text);
		memcpy(text, call->text, call->text_bytes);
		memset(text + call->text_bytes, call->byte, call->repeat);
		memcpy(text + call->text_bytes + call->repeat, call->rest, call->rest_bytes);
		if (call->direction == 'S' && memcmp(text, "HTTP/1", bytes < 6 ? bytes : 6))
			kept = SEND_KEPT;
		feed(story, call->direction, text, bytes, keep_all ? ALL : kept, LS_TAIL_BYTES,
		     call->first_bytes);
		story->head_requests = !strcmp(story->last.method, "HEAD");
		free(text);
	}
}

/* The same but for what is only a guess. */
static void without_marks(char *text)
{
	char *to = text;

	for (; *text; text++)
		if (*text != '~')
			*to++ = *text;
	*to = '\0';
}

static void test_recorded(void **state)
{
	size_t count = sizeof(recorded_sessions) / sizeof(recorded_sessions[0]);
	static struct story story, whole;

	(void)state;
	for (size_t i = 0; i < count; i++) {
		play(&recorded_sessions[i], false, &story);
		if (strcmp(story.text, recorded_sessions[i].events))
			print_error("%s\n", recorded_sessions[i].name);
		assert_string_equal(story.text, recorded_sessions[i].events);
		play(&recorded_sessions[i], true, &whole);
		assert_null(strchr(whole.text, '~'));
		if (strstr(recorded_sessions[i].name, "long head"))
			continue;
		without_marks(story.text);
		assert_string_equal(story.text, whole.text);
	}
}

static void test_request_lines(void **state)
{
	(void)state;
	expect_requests("GET / HTTP/1.1\r\n\r\n", "B0 H18(GET / none) E18");
	expect_requests("\r\n\nGET / HTTP/1.0\n\n", "B3 H19(GET / none) E19");
	expect_requests("OPTIONS * HTTP/1.1\r\n\r\n", "B0 H22(OPTIONS * none) E22");
	expect_requests("GET http://a:80/b/c?d=/e HTTP/1.1\r\n\r\n", "B0 H37(GET /b/c none) E37");
	expect_requests("GET https://a HTTP/1.1\r\n\r\n", "B0 H26(GET / none) E26");
	expect_requests("GET http://a?b HTTP/1.1\r\n\r\n", "B0 H27(GET / none) E27");
	expect_requests("CONNECT a:443 HTTP/1.1\r\n\r\n", "B0 H26(CONNECT a:443 none) E26");
	expect_requests("GET /a%2Fb%3f/\xff\xfe?x?y=/ HTTP/1.1\r\n\r\n",
			"B0 H35(GET /a%2Fb%3f/\xff\xfe none) E35");
	expect_requests("GET /a://b HTTP/1.1\r\n\r\n", "B0 H23(GET /a://b none) E23");
	expect_requests("VERSION-CONTROL /a HTTP/1.1\r\n\r\n",
			"B0 H31(VERSION-CONTROL /a none) E31");
	expect_requests("BASELINE-CONTROL /a HTTP/1.1\r\n\r\n",
			"B0 H32(BASELINE-CONTRO+ /a none) E32");
}

static void test_request_path_kept(void **state)
{
	struct story story = { .text = "" };
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), "GET /%0200d?%0100d HTTP/1.1\r\n\r\n", 1, 2);
	feed_text(&story, 'R', text);
	assert_int_equal(story.last.path_length, 201);
	assert_int_equal(story.last.path_bytes, LS_PATH_BYTES);
	assert_int_equal(strlen(story.last.path), LS_PATH_BYTES);
	assert_false(story.last.uncertain);
}

static void test_request_bodies(void **state)
{
	static const struct {
		const char *fields, *body;
	} cases[] = {
		{ "Content-Length: 5", "length" }, { "content-length:5", "length" },
		{ "CONTENT-LENGTH:\t 5 \t", "length" }, { "Content-Length : 5", "length" },
		{ "Content-Length: 5\r\nContent-Length: 5", "length" },
		{ "Content-Length: 5, 5", "length" }, { "Content-Length:\r\n 5", "length" },
		{ "Content-Length: 0", "none" }, { " Content-Length: 5", "none" },
		{ "X-Content-Length: 5", "none" }, { "Content-Length", "none" },
		{ "X-A: b\r\n Content-Length: 5", "none" },
		{ "Content-Length: 5\r\nContent-Length: 6", "unknown" },
		{ "Content-Length: 5, 6", "unknown" }, { "Content-Length: -5", "unknown" },
		{ "Content-Length: +5", "unknown" }, { "Content-Length: 5 5", "unknown" },
		{ "Content-Length: 1\r1", "unknown" },
		{ "Content-Length: 0x5", "unknown" }, { "Content-Length:", "unknown" },
		{ "Content-Length: 18446744073709551616", "unknown" },
		{ "Content-Length: 99999999999999999999999999", "unknown" },
		{ "Content-Length: 18446744073709551615", "length" },
		{ "Transfer-Encoding: chunked", "chunked" },
		{ "transfer-encoding: gzip, Chunked", "chunked" },
		{ "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "chunked" },
		{ "Transfer-Encoding: chunked, gzip", "unknown" },
		{ "Transfer-Encoding: xchunked", "unknown" },
		{ "Content-Length: 5\r\nTransfer-Encoding: chunked", "chunked" },
		{ "Transfer-Encoding: chunked\r\nContent-Length: x", "chunked" },
		{ "Expect: 100-Continue\r\nContent-Length: 5", "length expect" },
		{ "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket", "none websocket" },
		{ "Upgrade: websocket", "none" }, { "Connection: upgrade", "none" },
		{ "Connection: upgrade\r\nUpgrade: h2c", "none" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct story story = { .text = "" };
		char text[256], events[256];
		int head = snprintf(text, sizeof(text), "POST /a HTTP/1.1\r\n%s\r\n\r\n",
				    cases[i].fields);

		feed_text(&story, 'R', text);
		snprintf(events, sizeof(events), "B0 H%d(POST /a %s)%.0s", head, cases[i].body,
			 cases[i].fields);
		if (!strncmp(cases[i].body, "none", 4))
			snprintf(events + strlen(events), 16, " E%d", head);
		expect(&story, events);
	}
}

/* A value that ends beyond what is kept of a line is not taken for its beginning. */
static void test_long_lines(void **state)
{
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nContent-Length: %0120d\r\n\r\n", 5);
	expect_requests(text, "B0 H157(POST / unknown)");
	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nContent-Length:%120s5\r\n\r\nhello", "");
	expect_requests(text, "B0 H157(POST / length) E162");
	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nTransfer-Encoding: chunked,%*sx\r\n\r\n",
		 0,
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaa, chunked");
	expect_requests(text, "B0 H163(POST / unknown)");
	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nX: %0200d\r\nContent-Length: 1\r\n\r\nx",
		 5);
	expect_requests(text, "B0 H243(POST / length) E244");
}

static void test_request_chunks(void **state)
{
	(void)state;
#define HEAD "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
#define TOLD "B0 H47(POST / chunked)"
	expect_requests(HEAD "5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
			TOLD " E62 B62 H81(GET /b none) E81");
	expect_requests(HEAD "5;a=\"b\";c\r\nhello\r\n0;x\r\nTrailer: a\r\nB: c\r\n\r\n",
			TOLD " E90");
	expect_requests(HEAD "00000000000000000000A\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
			TOLD " E87");
	expect_requests(HEAD "7\r\n\r\n0\r\n\r\n|\r\n0\r\n\r\n", TOLD " E7");
	expect_requests(HEAD "1\nx\n0\n\n", TOLD " E54");
	expect_requests(HEAD "|5|\r|\nhel|lo|\r|\n0|\r|\n\r|\n", TOLD " E1");
	/* no chunks: what could be read is over at the next request or with the response */
	expect_requests(HEAD "x\r\n|GET /b HTTP/1.1\r\n\r\n", TOLD " E~0 B0 H19(GET /b none) E19");
	expect_requests(HEAD "10000000000000000\r\nx|GET /b HTTP/1.1\r\n\r\n",
			TOLD " E~0 B0 H19(GET /b none) E19");
	expect_requests(HEAD "ffffffffffffffff\r\nx|GET /b HTTP/1.1\r\n\r\n", TOLD);
	expect_requests(HEAD "5\r\nhelloX\r\n", TOLD);
	expect_requests(HEAD "x|abc\r\n0\r\n\r\n", TOLD " E~10");
	expect_requests(HEAD "x|abc\r|\n0\r\n|\r\n", TOLD " E~2");
	expect_requests(HEAD "x|junk|3\r\nabc\r\n|0\r\n\r\n", TOLD " E~5");
}

static void test_request_splits(void **state)
{
	(void)state;
	expect_requests("GE|T /a", "B0");
	expect_requests("GE|T /a| HTTP/1.1\r\nHo|st: x\r\n\r|\nG", "B0 H1(GET /a none) E1 B1");
	expect_requests("POST / HTTP/1.1\r\nContent-Le|ngth: 5\r\n\r\nhe|ll|oGET / HTTP/1.1\r\n"
			"\r\n",
			"B0 H11(POST / length) E1 B1 H19(GET / none) E19");
	expect_requests("POST / HTTP/1.1\r\nContent-Length: 5\r\n|\r\nhello",
			"B0 H2(POST / length) E7");
	expect_requests("POST / HTTP/1.1\r\nContent-Length: 1\r\n| 5\r\n\r\nhello",
			"B0 H6(POST / unknown)");
}

static void test_refused(void **state)
{
	struct story story = { .text = "" };
	static const struct {
		const char *text;
		enum http_refusal why;
		const char *events;
	} cases[] = {
		{ "\x16\x03\x01", HTTP_IS_TLS, "" }, { "\x16", HTTP_IS_TLS, "" },
		{ "\x16x", HTTP_NO_REQUEST_LINE, "" },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_IS_HTTP2, "" },
		{ "GET /\r\n", HTTP_NO_VERSION, "" }, { "GET / HTTP/2.0\r\n", HTTP_NO_VERSION, "" },
		{ "GET / FTP/1.1\r\n", HTTP_NO_VERSION, "" },
		{ "GET /a b HTTP/1.1\r\n", HTTP_NO_VERSION, "" },
		{ "GET /a\tb HTTP/1.1\r\n", HTTP_NO_VERSION, "" },
		{ "GET / HTTP/1.1 and so on\r\n", HTTP_NO_VERSION, "" },
		{ "hello\r\n", HTTP_NO_REQUEST_LINE, "" }, { "{\"a\": 1}", HTTP_NO_REQUEST_LINE,
				"" },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaa / HTTP/1.1"
		  "\r\n\r\n",
		  HTTP_NO_REQUEST_LINE, "" },
		{ "GET / HTTP/1.1\r\n\r\n\x01", HTTP_NO_REQUEST_LINE, "B0 H18(GET / none) E18" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&story, 0, sizeof(story));
		feed_text(&story, 'R', cases[i].text);
		assert_int_equal(story.in.refusal, cases[i].why);
		feed_text(&story, 'R', "GET / HTTP/1.1\r\n\r\n");
		expect(&story, cases[i].events);
	}
	assert_int_equal(story.in.skipped_bytes, 1 + 18);
	assert_false(http_request_resync(&story.in));
	assert_int_equal(story.in.refusal, HTTP_ACCEPTED);
	feed_text(&story, 'R', "GET / HTTP/1.1\r\n\r\n");
	expect(&story, "B0 H18(GET / none) E18");
	feed_text(&story, 'R', "hello ");
	feed_text(&story, 'R', "there\r\n");
	expect(&story, "B0 R5");
}

static void test_joined(void **state)
{
	struct story story = { .in.joined = true, .out.joined = true };

	(void)state;
	feed_text(&story, 'R', "the rest of a body\r\n\r\n");
	feed_text(&story, 'R', "GET /a HTTP/1.1 is a line\r\n");
	feed_text(&story, 'S', "and of its answer");
	expect(&story, "");
	assert_int_equal(story.in.skipped_bytes, 22 + 27);
	assert_int_equal(story.out.skipped_bytes, 17);
	feed_text(&story, 'R', "PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nab");
	expect(&story, "B0 H38(PUT /a length) E40");
	feed_text(&story, 'S', "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
	expect(&story, "S~0(200) C~40(length)");
	feed_text(&story, 'S', "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
	expect(&story, "S0(200) C40(length)");
	/* a HEAD that nobody saw */
	memset(&story.out, 0, sizeof(story.out));
	story.out.joined = true;
	feed_text(&story, 'S', "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n");
	feed_text(&story, 'S', "HTTP/1.1 201 OK\r\nContent-Length: 0\r\n\r\n");
	expect(&story, "S~0(200) C~0(length) S0(201) C38(none)");
	http_request_upgraded(&story.in);
	feed_text(&story, 'R', "GET / HTTP/1.1\r\n\r\n");
	expect(&story, "");
}

/* Heads longer than what is kept of a receive. */
static void test_request_head_hidden(void **state)
{
	struct story story = { .text = "" };
	static char text[4000];
	int length;

	(void)state;
	snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nCookie: %0600d\r\n\r\n", 1);
	expect_requests(text, "B0 H~512(GET /a none) E~629");
	snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nCookie: %0600d|%0600d|1\r|\n\r|\n", 1, 1);
	expect_requests(text, "B0 H~512(GET /a none) E~1");
	snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nCookie: %0600d|\r\n\r\n"
			"GET /b HTTP/1.1\r\n\r\n",
		 1);
	expect_requests(text, "B0 H~512(GET /a none) E~4 B4 H23(GET /b none) E23");
	snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nCookie: %0600d|GET /b HTTP/1.1\r\n\r\n",
		 1);
	expect_requests(text, "B0 H~512(GET /a none) E~0 B0 H19(GET /b none) E19");
	snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nCookie: %0600d\r\n\r\n{}", 1);
	expect_requests(text, "B0 H~512(GET /a none) E~629 U~629");
	snprintf(text, sizeof(text), "POST /a HTTP/1.1\r\nContent-Length: 5\r\nX: %0600d\r\n\r\n"
			"|hello", 1);
	expect_requests(text, "B0 H~512(POST /a length) E~5");
	/* a field cut by the end of what is kept is none */
	snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nX: %0473d\r\nContent-Length: 123\r\n"
			"A: bcdef\r\n\r\n",
		 1);
	assert_memory_equal(text + 495, "Content-Length: 1", 17);
	expect_requests(text, "B0 H~512(GET /a none) E~528");
	snprintf(text, sizeof(text),
		 "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: %0600d\r\n\r\n5\r\n"
		 "hello\r\n0\r\n\r\n", 1);
	expect_requests(text, "B0 H~512(POST /a chunked) E~668");
	snprintf(text, sizeof(text), "GET /%0600d HTTP/1.1\r\nHost: a\r\n\r\n", 1);
	feed_text(&story, 'R', text);
	assert_int_equal(story.last.path_length, 508);
	assert_true(story.last.uncertain);
	/* whose end only the response tells */
	length = snprintf(text, sizeof(text), "POST /a HTTP/1.1\r\nX: %0600d\r\n\r\nhello", 1);
	memset(&story, 0, sizeof(story));
	feed(&story, 'R', text, (size_t)length, RECEIVE_KEPT, LS_TAIL_BYTES, 0);
	feed_text(&story, 'R', "more of it");
	expect(&story, "B0 H~512(POST /a unknown)");
	assert_true(http_request_resync(&story.in));
	assert_false(http_request_resync(&story.in));
	feed_text(&story, 'R', "and more");
	feed_text(&story, 'R', "GET /b HTTP/1.1\r\n\r\n");
	expect(&story, "B0 H19(GET /b none) E19");
	/* the one before is over, but not in these bytes */
	snprintf(text, sizeof(text),
		 "GET /a HTTP/1.1\r\nX: %0600d|GET /b HTTP/1.1\r\nX: %0600d\r\n\r\n", 1, 1);
	expect_requests(text, "B0 H~512(GET /a none) E~0 B0 H~512(GET /b none) E~624");
	/* a field that is just whole */
	memset(&story, 0, sizeof(story));
	snprintf(text, sizeof(text), "PUT /a HTTP/1.1\r\nContent-Length: 5\r\nA: %050d\r\n\r\n", 1);
	feed(&story, 'R', text, strlen(text), 36, LS_TAIL_BYTES, 0);
	expect(&story, "B0 H~36(PUT /a length)");
	memset(&story, 0, sizeof(story));
	/* nothing kept of the end */
	snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nCookie: %0600d\r\n\r\n", 1);
	feed(&story, 'R', text, 629, RECEIVE_KEPT, 0, 0);
	expect(&story, "B0 H~512(GET /a none) E~629");
}

static void test_head_of_a_megabyte(void **state)
{
	struct story story = { .text = "" };
	size_t bytes = 1 << 20;
	char *text = malloc(bytes);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', bytes);
	memcpy(text, "GET /a HTTP/1.1\r\nX: ", 20);
	memcpy(text + bytes - 4, "\r\n\r\n", 4);
	for (size_t at = 0; at < bytes; at += 4096)
		feed(&story, 'R', text + at, 4096, RECEIVE_KEPT, LS_TAIL_BYTES, 0);
	expect(&story, "B0 H~512(GET /a none) E~4096");
	for (size_t at = 0; at < bytes; at += 4096)
		feed(&story, 'R', text + at, 4096, ALL, LS_TAIL_BYTES, 0);
	expect(&story, "B0 H4096(GET /a none) E4096");
	free(text);
}

static void test_pipelined_hidden(void **state)
{
	struct story story = { .text = "" };
	char text[40 * 29 + 1] = "";

	(void)state;
	for (int i = 0; i < 20; i++)
		strcat(text, "GET /a HTTP/1.1\r\nHost: abcdef\r\n\r\n");
	feed(&story, 'R', text, strlen(text), 33 * 2 + 20, LS_TAIL_BYTES, 0);
	feed_text(&story, 'R', "GET /b HTTP/1.1\r\n\r\n");
	expect(&story, "B0 H33(GET /a none) E33 B33 H66(GET /a none) E66 "
		       "B66 H~86(GET /a none) E~660 U~86 B0 H19(GET /b none) E19");
	feed(&story, 'R', text, strlen(text), 33 + 20, LS_TAIL_BYTES, 0);
	feed_text(&story, 'R', "{}");
	expect(&story, "B0 H33(GET /a none) E33 B33 H~53(GET /a none) E~660 U~53");
	assert_int_equal(story.in.refusal, HTTP_ACCEPTED);
	memset(&story, 0, sizeof(story));
	story.in.unseen = 1;
	feed(&story, 'R', text, strlen(text), 33, LS_TAIL_BYTES, 0);
	expect(&story, "B0 H33(GET /a none) E33 U~33");
	assert_int_equal(story.in.unseen, 2);
	feed(&story, 'R', text, strlen(text), 35, LS_TAIL_BYTES, 0);
	expect(&story, "B0 H33(GET /a none) E33 U~33");
	assert_int_equal(story.in.skipped_bytes, 2 * (660 - 33));
	/* behind a body of known length that was not kept */
	memset(&story, 0, sizeof(story));
	memset(text, 'x', 1000);
	memcpy(text, "POST / HTTP/1.1\r\nContent-Length: 955\r\n\r\n", 40);
	feed(&story, 'R', text, 998, RECEIVE_KEPT, LS_TAIL_BYTES, 0);
	expect(&story, "B0 H40(POST / length) E995 B995");
	memcpy(text + 33, "700", 3);
	feed_text(&story, 'R', " /x HTTP/1.1\r\n\r\n");
	expect(&story, "H16(xxx /x none) E16");
	feed(&story, 'R', text, 998, RECEIVE_KEPT, LS_TAIL_BYTES, 0);
	expect(&story, "B0 H40(POST / length) E740 U~740");
}

static void test_response_bodies(void **state)
{
	(void)state;
	expect_responses(0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "S0(200) C38(none)");
	expect_responses(0, "HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n", "S0(204) C36(none)");
	expect_responses(0, "HTTP/1.1 304 \r\ntransfer-encoding: chunked\r\n\r\n",
			"S0(304) C45(none)");
	expect_responses(1, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "S0(200) C38(none)");
	expect_responses(0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe|l|lo",
			"S0(200) C2(length)");
	expect_responses(0, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "S0(200) C35(none)");
	expect_responses(0, "HTTP/1.0 999\nContent-Length: 0\n\n", "S0(999) C32(none)");
	expect_responses(0, "HTTP/1.1 200 OK\r\n\r\nabc", "S0(200)");
	expect_responses(0, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc", "S0(200)");
	expect_responses(0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc\r\n0\r\n\r\n",
			"S0(200)");
	expect_responses(0, "HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 \r\nLink: a\r\n\r\n"
			"HTTP/1.1 204 \r\n\r\n",
			 "I0(100) I17(103) S43(204) C60(none)");
	expect_responses(0, "HTTP/1.1 101 \r\n\r\nHTTP/1.1 200 \r\n\r\n|HTTP/1.1 200 \r\n\r\n",
			"G0(101)");
	expect_responses(0, "HT|TP/1.1 20|0 OK\r\nContent-Le|ngth: 2\r\n\r|\nok",
			"S0(200) C3(length)");
	expect_responses(0, "HTTP/1.1 2000 OK\r\n\r\n", "");
	expect_responses(0, "HTTP/1.1 020 OK\r\n\r\n", "");
	expect_responses(0, "HTTP/2 200 OK\r\n\r\n", "");
	/* several at once, the second one to a HEAD */
	expect_responses(2, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"
			    "Content-Length: 2\r\n\r\nHTTP/1.1 404 \r\nContent-Length: 1\r\n\r\nx",
			 "S0(200) C40(length) S40(200) C78(none) S78(404) C115(length)");
	expect_responses(0, "HTTP/1.1 204 \r\n\r\nHTTP/1.1 2|04 \r\n\r\n",
			 "S0(204) C17(none) S0(204) C7(none)");
	/* bytes that belong to no response; what follows is not paired any more */
	expect_responses(1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n|ok|HTTP/1.1 204 \r\n\r\n",
			 "S0(200) C38(none) S~0(204) C~17(none)");
	/* to the close of the connection, unless another one follows */
	expect_responses(0, "HTTP/1.1 200 OK\r\n\r\nabc|HTTP/1.1 204 \r\n\r\n",
			 "S0(200) C~0(close) S0(204) C17(none)");
	expect_responses(0, "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n|HTTP/1.1 204 \r\n\r\n",
			 "S0(200) C17(length)");
}

static void test_response_chunks(void **state)
{
	struct story story = { .text = "" };
	char text[4096];
	int length;

	(void)state;
#define CHUNKED "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
	expect_responses(0, CHUNKED "2\r\nab\r\n0\r\n\r\n", "S0(200) C59(chunked)");
	expect_responses(0, CHUNKED "|0\r\n\r\n", "S0(200) C5(chunked)");
	expect_responses(0, CHUNKED "|0\r\nA: b\r\n\r\n", "S0(200) C11(chunked)");
	/* data that looks like the end */
	expect_responses(0, CHUNKED "|9\r\nab\r\n0\r\n\r\n\r\n", "S0(200)");
	expect_responses(0, CHUNKED "|5\r\n|0\r\n\r\n|\r\n|0\r\n\r\n", "S0(200) C5(chunked)");
	/* one large chunk, in parts as the socket takes them */
	snprintf(text, sizeof(text), CHUNKED "|3ea\r\n%01000d|\r\n\r\n|0\r\n\r\n", 1);
	expect_responses(0, text, "S0(200) C5(chunked)");
	snprintf(text, sizeof(text), CHUNKED "|3e8\r\n%0700d|%0300d\r\n0\r\n\r\n", 1, 1);
	expect_responses(0, text, "S0(200) C307(chunked)");
	/* several in one send: what lies between is not seen, but how it ends is */
	snprintf(text, sizeof(text), CHUNKED "|64\r\n%0100d\r\n64\r\n%0100d\r\n0\r\n\r\n", 1, 1);
	expect_responses(0, text, "S0(200) C217(chunked)");
	snprintf(text, sizeof(text), CHUNKED "|64\r\n%0100d\r\n64\r\n%0100d\r\n", 1, 1);
	length = (int)strlen(text);
	snprintf(text + length, sizeof(text) - (size_t)length, "|1\r\nx\r\n0\r\n\r\n");
	expect_responses(0, text, "S0(200) C~11(chunked)");
	/* until then any data that looks like the end is taken for it */
	snprintf(text + length, sizeof(text) - (size_t)length, "|7\r\n\r\n0\r\n\r\n|\r\n0\r\n\r\n");
	expect_responses(0, text, "S0(200) C~10(chunked)");
	/* the position is found again where a send is exactly chunks */
	snprintf(text + length, sizeof(text) - (size_t)length,
			"|1\r\nx\r\n|7\r\n\r\n0\r\n\r\n|\r\n0\r\n\r\n");
	expect_responses(0, text, "S0(200) C~7(chunked)");
	/* and otherwise at the next response */
	snprintf(text + length, sizeof(text) - (size_t)length, "|junk|HTTP/1.1 204 \r\n\r\n");
	expect_responses(0, text, "S0(200) C~0(chunked) S0(204) C17(none)");
	snprintf(text + length, sizeof(text) - (size_t)length, "|0\r\n\r\nab|\r\n");
	expect_responses(0, text, "S0(200)");
	feed_text(&story, 'S', CHUNKED "64\r\n");
	feed(&story, 'S', text, 300, SEND_KEPT, 0, 0);
	feed_text(&story, 'S', "0\r\n\r\n");
	expect(&story, "S0(200) C~5(chunked)");
	feed_text(&story, 'S', CHUNKED "5\r\nhel");
	expect(&story, "S0(200)");
	assert_false(http_response_finish(&story.out)); /* cut short */
	assert_false(http_response_finish(&story.out));
}

static void test_response_head_hidden(void **state)
{
	struct story story = { .text = "" };
	static char text[4096];
	char *head = text + 2048;
	int length;

	(void)state;
#define LONG(fields) "HTTP/1.1 200 OK\r\n" fields "x-a: %0600d\r\n\r\n"
	/* in a send of its own */
	snprintf(text, sizeof(text), LONG("content-length: 5\r\n") "|hello", 1);
	expect_responses(0, text, "S0(200) C~5(length)");
	snprintf(text, sizeof(text), LONG("transfer-encoding: chunked\r\n") "|1\r\nx\r\n|0\r\n\r\n"
			"", 1);
	expect_responses(0, text, "S0(200) C~5(chunked)");
	snprintf(text, sizeof(text), LONG("") "|1\r\nx\r\n|0\r\n\r\n", 1);
	expect_responses(0, text, "S0(200) C~5(unknown)");
	expect_responses(1, text, "S0(200) C~626(none)");
	snprintf(text, sizeof(text), LONG("") "|hello|HTTP/1.1 204 \r\n\r\n", 1);
	expect_responses(0, text, "S0(200) C~0(unknown) S0(204) C17(none)");
	/* in a buffer of its own */
	length = snprintf(head, 1024, LONG("content-length: 5\r\n"), 1);
	snprintf(head + length, 1024, "hello");
	feed(&story, 'S', head, (size_t)length + 5, RECEIVE_KEPT, LS_TAIL_BYTES, (uint32_t)length);
	expect(&story, "S0(200) C~650(length)");
	feed(&story, 'S', head, (size_t)length + 3, RECEIVE_KEPT, LS_TAIL_BYTES, (uint32_t)length);
	expect(&story, "S0(200)");
	feed_text(&story, 'S', "lo");
	expect(&story, "C~2(length)");
	length = snprintf(head, 1024, LONG("transfer-encoding: chunked\r\n"), 1);
	snprintf(head + length, 1024, "5\r\nhello\r\n0\r\n\r\n");
	feed(&story, 'S', head, (size_t)length + 15, RECEIVE_KEPT, LS_TAIL_BYTES, (uint32_t)length);
	expect(&story, "S0(200) C~669(chunked)");
	/* together with the body */
	snprintf(text, sizeof(text), LONG("content-length: 5\r\n") "hello", 1);
	expect_responses(0, text, "S0(200) C~650(length)");
	snprintf(text, sizeof(text), LONG("content-length: 500\r\n") "hello", 1);
	expect_responses(0, text, "S0(200)");
	snprintf(text, sizeof(text), LONG("transfer-encoding: chunked\r\n") "1\r\nx\r\n0\r\n\r\n",
		 1);
	expect_responses(0, text, "S0(200) C~665(chunked)");
	snprintf(text, sizeof(text), LONG("transfer-encoding: chunked\r\n") "1\r\nx\r\n|0\r\n\r\n",
		 1);
	expect_responses(0, text, "S0(200) C~5(chunked)");
	snprintf(text, sizeof(text), LONG("content-length: 0\r\n"), 1);
	expect_responses(0, text, "S0(200) C~645(none)");
	/* a field cut by the end of what is kept is none */
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nX: %0473d\r\nContent-Length: 123\r\n"
			"A: bcdef\r\n\r\n|hello", 1);
	memset(&story, 0, sizeof(story));
	length = (int)(strchr(text, '|') - text);
	feed(&story, 'S', text, (size_t)length, RECEIVE_KEPT, LS_TAIL_BYTES, 0);
	feed_text(&story, 'S', "hello");
	expect(&story, "S0(200)");
	assert_true(http_response_finish(&story.out));
	assert_false(http_response_finish(&story.out));
	feed_text(&story, 'S', "HTTP/1.1 204 \r\n\r\n");
	expect(&story, "S0(204) C17(none)");
}

static void test_response_unseen(void **state)
{
	struct story story = { .text = "" };
	static const char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
				  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

	(void)state;
	feed(&story, 'S', two, 80, 40, LS_TAIL_BYTES, 0);
	expect(&story, "S0(200) C40(length) N~40");
	feed(&story, 'S', two, 80, 45, LS_TAIL_BYTES, 0);
	expect(&story, "S~0(200) C~40(length) N~40");
	feed_text(&story, 'S', "more");
	feed_text(&story, 'S', "HTTP/1.1 204 \r\n\r\n");
	expect(&story, "S~0(204) C~17(none)");
	assert_int_equal(story.out.unseen, 2);
	assert_int_equal(story.out.skipped_bytes, 40 + 35 + 4);
	feed(&story, 'S', two, 80, 55, LS_TAIL_BYTES, 0);
	expect(&story, "S0(200) C40(length) S40(200)");
}

static void test_contradictions(void **state)
{
	struct story story = { .text = "" };
	struct http_bytes part = { .bytes = 4, .head = (const uint8_t *)"GET ", .head_bytes = 5 };

	(void)state;
	assert_int_equal(http_receive(&story.in, &part, on_request, &story), -EINVAL);
	assert_int_equal(http_send(&story.out, &part, 0, on_response, &story), -EINVAL);
	part.head_bytes = 4;
	part.tail_bytes = 5;
	assert_int_equal(http_receive(&story.in, &part, on_request, &story), -EINVAL);
	part.bytes = 100;
	part.tail_bytes = 9;
	assert_int_equal(http_receive(&story.in, &part, on_request, &story), -EINVAL);
	part.tail_bytes = 0;
	part.head = NULL;
	assert_int_equal(http_receive(&story.in, &part, on_request, &story), -EINVAL);
	part.head_bytes = 0;
	assert_int_equal(http_receive(&story.in, &part, on_request, &story), 0);
	expect(&story, "U~0");
	part.bytes = 0;
	assert_int_equal(http_receive(&story.in, &part, on_request, &story), 0);
	assert_int_equal(http_send(&story.out, &part, 0, on_response, &story), 0);
	expect(&story, "");
	part.bytes = UINT64_MAX;
	assert_int_equal(http_receive(&story.in, &part, on_request, &story), 0);
	assert_int_equal(http_send(&story.out, &part, 0, on_response, &story), 0);
	expect(&story, "N~0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_request_lines),
		cmocka_unit_test(test_request_path_kept),
		cmocka_unit_test(test_request_bodies),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_request_chunks),
		cmocka_unit_test(test_request_splits),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_joined),
		cmocka_unit_test(test_request_head_hidden),
		cmocka_unit_test(test_head_of_a_megabyte),
		cmocka_unit_test(test_pipelined_hidden),
		cmocka_unit_test(test_response_bodies),
		cmocka_unit_test(test_response_chunks),
		cmocka_unit_test(test_response_head_hidden),
		cmocka_unit_test(test_response_unseen),
		cmocka_unit_test(test_contradictions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
