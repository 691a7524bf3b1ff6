// SPDX-License-Identifier: Apache-2.0
/* Pieces that the probes saw become requests and calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attribute/tracker.h"
#include "attribute/waits.h"
#include "base/intern.h"
#include "base/units.h"

#define MS NS_PER_MS
#define PID 100
#define TID 101
#define KEPT 16	/* requests and calls of one test */

struct world {
	struct tracker *tracker;
	struct served_request requests[KEPT];
	size_t request_count;
	struct dependency_call calls[KEPT];
	struct peer_call peer_calls[KEPT];
	size_t call_count;
	struct await_time awaits[TIMELINE_AWAITS + PART_COUNT];	/* of the last one */
	size_t await_count;
	struct site_calls site;	/* the first one of the last request */
	uint64_t busy_ns;
	uint64_t step;
};

static void on_request(void *context, const struct served_request *request)
{
	struct world *world = context;
	uint64_t sum = 0;

	assert_true(world->request_count < KEPT);
	for (unsigned i = 0; i < PART_COUNT; i++)
		sum += request->parts[i];
	assert_int_equal(sum, request->end_ns - request->start_ns);
	world->await_count = request->await_count;
	memcpy(world->awaits, request->awaits, request->await_count * sizeof(*request->awaits));
	if (request->site_count)
		world->site = request->sites[0];
	world->requests[world->request_count++] = *request;
}

static void on_call(void *context, const struct dependency_call *call)
{
	struct world *world = context;

	assert_true(world->call_count < KEPT);
	world->peer_calls[world->call_count] = *call->call;
	world->calls[world->call_count++] = *call;
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct tracker_sink sink = { .on_request = on_request, .on_call = on_call,
				     .context = world };

	world->tracker = tracker_new(&sink);
	world->step = 1;
	*state = world;
	return world->tracker ? 0 : -1;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	tracker_free(world->tracker);
	free(world);
	return 0;
}

static void fill(struct io_record *io, const struct world *world, uint64_t connection,
		 uint8_t role, uint8_t direction, const char *text, uint64_t now)
{
	size_t length = strlen(text), kept = length < LS_HEAD_BYTES ? length : LS_HEAD_BYTES;

	*io = (struct io_record){
		.connection = connection, .bytes = (int64_t)length, .head_bytes = (uint16_t)kept,
		.direction = direction, .role = role, .family = FD_INET,
		.flags = IO_SEEN_OPENING, .peer_port = role == ROLE_SERVER ? 50000 : 6379,
		.loop = 0, .step_seq = world->step,
		.own = { .start_ns = now - MS, .cpu_ns = MS, .busy_ns = world->busy_ns },
	};
	io->tail_bytes = length < LS_TAIL_BYTES ? (uint8_t)length : LS_TAIL_BYTES;
	memcpy(io->tail, text + length - io->tail_bytes, io->tail_bytes);
	if (role == ROLE_CLIENT)
		memcpy(io->address, "\x7f\0\0\1", 4);
}

/* Bytes that arrived at `arrived` were read at `now`. */
static void receive(struct world *world, uint64_t connection, uint8_t role, const char *text,
		    uint64_t arrived, uint64_t now)
{
	struct event_transfer event = { .header = { .kind = EVENT_TRANSFER, .time_ns = now,
						    .tgid = PID, .tid = TID } };

	fill(&event.io, world, connection, role, IO_RECEIVE, text, now);
	event.io.arrived_ns = event.io.arrived_last_ns = arrived;
	memcpy(event.head, text, event.io.head_bytes);
	assert_int_equal(tracker_event(world->tracker, NULL, &event.header, NULL), 0);
}

/* What begins a response or a call, sent for a request. */
static void message(struct world *world, uint64_t connection, uint8_t role, const char *text,
		    uint64_t request, uint64_t now)
{
	struct event_response response = { .header = { .kind = EVENT_RESPONSE, .time_ns = now,
						       .tgid = PID, .tid = TID } };
	struct event_message call = { .header = { .kind = EVENT_MESSAGE, .time_ns = now,
						  .tgid = PID, .tid = TID } };
	bool answers = role == ROLE_SERVER;
	struct activity activity = { .pid = PID, .tid = TID, .request = request };

	if (request) {
		activity.route.route = intern("/items/{id}");
		activity.route.method = intern("GET");
		activity.culprit = (struct place){ "app.py", "f", "f", 7 };
	}
	fill(&response.io, world, connection, role, IO_SEND, text, now);
	call.io = response.io;
	memcpy(answers ? response.head : call.head, text, call.io.head_bytes);
	assert_int_equal(tracker_event(world->tracker, NULL,
				       answers ? &response.header : &call.header, &activity), 0);
}

static void more(struct world *world, uint64_t connection, uint8_t role, const char *text,
		 uint64_t now)
{
	struct event_transfer event = { .header = { .kind = EVENT_TRANSFER, .time_ns = now,
						    .tgid = PID, .tid = TID } };

	fill(&event.io, world, connection, role, IO_SEND, text, now);
	memcpy(event.head, text, event.io.head_bytes);
	assert_int_equal(tracker_event(world->tracker, NULL, &event.header, NULL), 0);
}

static void closed(struct world *world, uint64_t connection, uint64_t now, bool failed)
{
	struct event_closed event = { .header = { .kind = EVENT_CLOSED, .time_ns = now,
						  .tgid = PID },
				      .connection = connection, .failed = failed };

	assert_int_equal(tracker_event(world->tracker, NULL, &event.header, NULL), 0);
}

#define GET "GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"

/* A request in more pieces than are kept: what is left out of its time is counted. */
static void test_parts_beyond_what_is_kept(void **state)
{
	struct world *world = *state;
	uint64_t now = 100 * MS;

	receive(world, 1, ROLE_SERVER,
		"POST /items HTTP/1.1\r\nHost: a\r\ncontent-length: 100000\r\n\r\n", now, now + MS);
	for (unsigned i = 0; i < TIMELINE_MAX_SPANS; i++, now += 20 * MS)
		receive(world, 1, ROLE_SERVER, "piece", now + 12 * MS, now + 15 * MS);
	assert_int_equal(tracker_counts(world->tracker).forgotten, 0);
	message(world, 1, ROLE_SERVER, OK "body", 7, now + 20 * MS);
	assert_int_equal(world->request_count, 1);
	assert_true(tracker_counts(world->tracker).forgotten >= TIMELINE_MAX_SPANS);
}

static void test_keep_alive(void **state)
{
	struct world *world = *state;

	for (uint64_t i = 0; i < 3; i++) {
		uint64_t base = (100 + 100 * i) * MS;

		receive(world, 1, ROLE_SERVER, GET, base, base + 10 * MS);
		message(world, 1, ROLE_SERVER, OK, 7 + i, base + 20 * MS);
		assert_int_equal(world->request_count, i);
		more(world, 1, ROLE_SERVER, "body", base + 30 * MS);
		assert_int_equal(world->request_count, i + 1);
		assert_int_equal(world->requests[i].start_ns, base);
		assert_int_equal(world->requests[i].first_byte_ns, base + 20 * MS);
		assert_int_equal(world->requests[i].end_ns, base + 30 * MS);
		assert_int_equal(world->requests[i].status, 200);
		assert_int_equal(world->requests[i].identity, 7 + i);
		assert_string_equal(world->requests[i].route.route, "/items/{id}");
		assert_false(world->requests[i].aborted);
		/* nobody had read what was there */
		assert_int_equal(world->requests[i].parts[PART_behind_others], 9 * MS);
		assert_int_equal(world->requests[i].parts[PART_loop_cpu], 3 * MS);
	}
}

static void test_pipelined(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, GET GET, 100 * MS, 110 * MS);
	message(world, 1, ROLE_SERVER, OK "body", 7, 120 * MS);
	message(world, 1, ROLE_SERVER, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 8,
		130 * MS);
	assert_int_equal(world->request_count, 2);
	assert_int_equal(world->requests[0].status, 200);
	assert_int_equal(world->requests[0].end_ns, 120 * MS);
	assert_int_equal(world->requests[1].status, 404);
	assert_int_equal(world->requests[1].start_ns, 100 * MS);
}

static void test_closed_in_the_middle(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 110 * MS);
	message(world, 1, ROLE_SERVER, OK, 7, 120 * MS);
	closed(world, 1, 150 * MS, false);
	assert_int_equal(world->request_count, 1);
	assert_true(world->requests[0].aborted);
	assert_int_equal(world->requests[0].end_ns, 150 * MS);
}

/* Of a process that has ended nothing can be looked up any more. */
static void test_forgotten_process(void **state)
{
	struct world *world = *state;
	struct route_cache *routes = route_cache_new(NULL);
	struct event_transfer event = { .header = { .kind = EVENT_TRANSFER, .tgid = PID,
						    .time_ns = 110 * MS, .tid = TID } };

	fill(&event.io, world, 1, ROLE_SERVER, IO_RECEIVE, GET, 110 * MS);
	memcpy(event.head, GET, event.io.head_bytes);
	assert_int_equal(tracker_event(world->tracker, routes, &event.header, NULL), 0);
	tracker_forget(world->tracker, PID, routes);
	route_cache_free(routes);
	closed(world, 1, 150 * MS, false);
	assert_int_equal(world->request_count, 1);
	assert_true(world->requests[0].aborted);
	assert_null(world->requests[0].route.route);
}

static void test_ends_with_its_connection(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 110 * MS);
	message(world, 1, ROLE_SERVER, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab", 7,
		120 * MS);
	assert_int_equal(world->request_count, 0);
	closed(world, 1, 150 * MS, false);
	assert_int_equal(world->request_count, 1);
	assert_false(world->requests[0].aborted);
}

static void test_still_open_at_the_end(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 110 * MS);
	assert_int_equal(tracker_open_requests(world->tracker, 105 * MS, 5), 1);
	assert_int_equal(tracker_open_requests(world->tracker, 100 * MS, 5), 0);
	tracker_finish(world->tracker, 500 * MS);
	assert_int_equal(world->request_count, 1);
	assert_true(world->requests[0].ongoing);
	assert_int_equal(world->requests[0].end_ns, 500 * MS);
}

/* A response whose request was read before the attach has no latency, but it counts. */
static void test_response_alone(void **state)
{
	struct world *world = *state;

	message(world, 1, ROLE_SERVER, OK "body", 7, 120 * MS);
	assert_int_equal(world->request_count, 1);
	assert_true(world->requests[0].arrival_unknown);
}

/* Where nothing ever tells when bytes arrive, reading them is the beginning. */
static void test_without_arrivals(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, GET, 0, 110 * MS);
	message(world, 1, ROLE_SERVER, OK "body", 7, 120 * MS);
	assert_true(world->requests[0].arrival_unknown);
	assert_false(world->requests[0].from_read);
	tracker_no_arrivals(world->tracker);
	receive(world, 1, ROLE_SERVER, GET, 0, 210 * MS);
	message(world, 1, ROLE_SERVER, OK "body", 8, 220 * MS);
	assert_int_equal(world->request_count, 2);
	assert_false(world->requests[1].arrival_unknown);
	assert_true(world->requests[1].from_read);
	assert_int_equal(world->requests[1].start_ns, 210 * MS);
	assert_int_equal(world->requests[1].end_ns, 220 * MS);
	/* but what did arrive is timed from then on */
	receive(world, 1, ROLE_SERVER, GET, 300 * MS, 310 * MS);
	message(world, 1, ROLE_SERVER, OK "body", 9, 320 * MS);
	assert_false(world->requests[2].from_read);
	assert_int_equal(world->requests[2].start_ns, 300 * MS);
}

/* The steps that held up a request which nothing tells of may have been its own. */
static void test_held_up_by_whom(void **state)
{
	struct world *world = *state;

	tracker_no_arrivals(world->tracker);
	for (uint64_t i = 0; i < 2; i++) {
		uint64_t base = (100 + 200 * i) * MS;

		world->busy_ns = base;
		receive(world, 1, ROLE_SERVER, GET, 0, base);
		world->busy_ns = base + 100 * MS;
		message(world, 1, ROLE_SERVER, OK "body", i * 7, base + 100 * MS);
	}
	assert_int_equal(world->request_count, 2);
	assert_int_equal(world->requests[0].identity, 0);
	assert_int_equal(world->requests[0].parts[PART_behind_others], 0);
	assert_int_equal(world->requests[1].parts[PART_behind_others], 99 * MS);
}

static void test_call_of_a_request(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
	message(world, 2, ROLE_CLIENT, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 7, 103 * MS);
	receive(world, 2, ROLE_CLIENT, "$1\r\nv\r\n", 153 * MS, 160 * MS);
	message(world, 1, ROLE_SERVER, OK "body", 7, 165 * MS);
	assert_int_equal(world->call_count, 1);
	assert_string_equal(world->calls[0].peer, "127.0.0.1:6379");
	assert_int_equal(world->calls[0].request, 7);
	assert_int_equal(world->calls[0].culprit.line, 7);
	assert_int_equal(world->peer_calls[0].protocol, PROTOCOL_REDIS);
	assert_int_equal(world->peer_calls[0].reply_ns - world->peer_calls[0].sent_ns, 50 * MS);
	assert_string_equal(world->peer_calls[0].shape, "GET");
	assert_int_equal(world->request_count, 1);
	assert_int_equal(world->requests[0].site_count, 1);
	assert_int_equal(world->requests[0].parts[PART_dependency_wait], 50 * MS);
	/* the answer was there, the loop was not */
	assert_int_equal(world->requests[0].parts[PART_behind_others], 6 * MS);
}

/* What was known of a request before its connection was: both become one. */
static void test_orphan_is_joined(void **state)
{
	struct world *world = *state;

	message(world, 2, ROLE_CLIENT, "*1\r\n$4\r\nINCR\r\n", 7, 103 * MS);
	receive(world, 2, ROLE_CLIENT, ":1\r\n", 123 * MS, 124 * MS);
	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
	message(world, 1, ROLE_SERVER, OK "body", 7, 130 * MS);
	assert_int_equal(world->request_count, 1);
	assert_int_equal(world->requests[0].parts[PART_dependency_wait], 20 * MS);
}

/* Request 7 is known of by a call to a peer only, then another one comes. */
static uint64_t waited_for_peer(struct world *world, uint64_t seen_again_ns)
{
	uint64_t now = 31 * NS_PER_S + 103 * MS;

	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
	message(world, 2, ROLE_CLIENT, "*1\r\n$4\r\nINCR\r\n", 7, 103 * MS);
	receive(world, 2, ROLE_CLIENT, ":1\r\n", 123 * MS, 124 * MS);
	if (seen_again_ns) {
		message(world, 2, ROLE_CLIENT, "*1\r\n$4\r\nINCR\r\n", 7, seen_again_ns);
		receive(world, 2, ROLE_CLIENT, ":1\r\n", seen_again_ns + 20 * MS,
			seen_again_ns + 21 * MS);
	}
	message(world, 3, ROLE_CLIENT, "*1\r\n$4\r\nINCR\r\n", 8, now);
	message(world, 1, ROLE_SERVER, OK "body", 7, now + 10 * MS);
	assert_int_equal(world->request_count, 1);
	return world->requests[0].parts[PART_dependency_wait];
}

static void test_orphan_that_is_not_seen_any_more(void **state)
{
	assert_int_equal(waited_for_peer(*state, 0), 0);
}

static void test_orphan_that_is_seen_again(void **state)
{
	assert_int_equal(waited_for_peer(*state, 20 * NS_PER_S), 40 * MS);
}

static void test_refused(void **state)
{
	struct event_message event = { .header = { .kind = EVENT_MESSAGE, .time_ns = 100 * MS,
						   .tgid = PID, .tid = TID } };
	struct activity activity = { .pid = PID, .tid = TID, .request = 7 };
	struct world *world = *state;

	fill(&event.io, world, 3, ROLE_CLIENT, IO_CONNECT, "", 100 * MS);
	event.io.bytes = -111;
	assert_int_equal(tracker_event(world->tracker, NULL, &event.header, &activity), 0);
	assert_int_equal(world->call_count, 1);
	assert_true(world->calls[0].refused);
}

/* The loop is never idle: what another request sends is its turn. */
static void test_behind_the_turns_of_others(void **state)
{
	struct event_sample sample = { .header = { .kind = EVENT_SAMPLE, .time_ns = 102 * MS,
						   .tgid = PID, .tid = TID },
				       .own = { .start_ns = 101 * MS, .cpu_ns = MS,
						.busy_ns = 102 * MS } };
	struct activity activity = { .pid = PID, .tid = TID, .request = 7,
				     .client_port = 50000 };
	struct world *world = *state;

	world->busy_ns = 101 * MS;
	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
	assert_int_equal(tracker_event(world->tracker, NULL, &sample.header, &activity), 0);
	world->busy_ns = 110 * MS;
	message(world, 2, ROLE_SERVER, OK "body", 8, 110 * MS);
	world->busy_ns = 121 * MS;
	message(world, 1, ROLE_SERVER, OK "body", 7, 121 * MS);
	assert_int_equal(world->request_count, 2);
	assert_int_equal(world->requests[1].identity, 7);
	assert_int_equal(world->requests[1].parts[PART_behind_others], MS);
	assert_int_equal(world->requests[1].parts[PART_loop_cpu], 20 * MS);
}

/* A snapshot says what the gap between two turns on the loop was for. */
static void test_wait_fills_its_gap(void **state)
{
	struct activity activity = { .pid = PID, .tid = TID, .request = 7 };
	struct request_wait wait = { .part = PART_timer_wait, .mark = 1, .callable_count = 1 };
	struct world *world = *state;

	wait.stack = stack_of_place(tracker_stacks(world->tracker),
				    &(struct place){ "app.py", "f", "f", 9 });
	wait.callables[0] = (struct waiting_callable){ .code = 99, .innermost = true,
						       .place = { "deps.py", "d", "d", 3 },
						       .middleware = true };
	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
	activity.client_port = 50000;
	assert_int_equal(tracker_wait(world->tracker, &activity, &wait, 150 * MS), 0);
	world->step = 20;
	message(world, 1, ROLE_SERVER, OK "body", 7, 202 * MS);
	assert_int_equal(world->request_count, 1);
	assert_int_equal(world->requests[0].parts[PART_timer_wait], 100 * MS);
	assert_int_equal(world->requests[0].callable_count, 1);
	assert_int_equal(world->await_count, 1);
	assert_int_equal(world->awaits[0].part, PART_timer_wait);
	assert_int_equal(world->awaits[0].ns, 100 * MS);
	assert_int_equal(stack_site(world->awaits[0].stack)->line, 9);
}

/* A thread that was seen to work for a request: it says so at its end, or somebody else did. */
static void test_thread_says_nothing(void **state)
{
	static const struct {
		uint64_t said_ns, code, answered_ns, run_ns, queue_ns;
	} cases[] = {
		{ 0, 0, 162 * MS, 60 * MS, 0 },		 /* seen until shortly before */
		{ 0, 0, 202 * MS, 74 * MS, 26 * MS },	 /* seen for the last time long before */
		{ 190 * MS, 99, 202 * MS, 80 * MS, 20 * MS },	/* it said so */
		{ 151 * MS, 98, 202 * MS, 50 * MS, 50 * MS },	/* it had gone on with the next */
	};
	struct activity activity = { .pid = PID, .tid = TID, .request = 7, .client_port = 50000 };
	struct request_wait wait = { .part = PART_thread_queue, .mark = 1,
				     .in_thread = { 99, { "deps.py", "d", "d", 3 } } };
	struct world *world = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct event_work work = { .header = { .kind = EVENT_WORK,
						       .time_ns = cases[i].said_ns, .tgid = PID,
						       .tid = TID + 1 },
					   .start_ns = 110 * MS };
		uint64_t request = 7 + i;

		world->request_count = 0;
		world->step = 20 * (i + 1);
		activity.request = request;
		receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
		assert_int_equal(tracker_wait(world->tracker, &activity, &wait, 150 * MS), 0);
		activity.code = cases[i].code;
		if (cases[i].said_ns)
			assert_int_equal(tracker_event(world->tracker, NULL, &work.header,
						       &activity), 0);
		message(world, 1, ROLE_SERVER, OK "body", request, cases[i].answered_ns);
		assert_int_equal(world->request_count, 1);
		assert_int_equal(world->requests[0].parts[PART_thread_run], cases[i].run_ns);
		assert_int_equal(world->requests[0].parts[PART_thread_queue], cases[i].queue_ns);
	}
}

/* The same of one that nothing but that was known of, until it answered. */
static void test_thread_of_an_orphan(void **state)
{
	struct activity activity = { .pid = PID, .tid = TID, .request = 7 };
	struct request_wait wait = { .part = PART_thread_queue, .mark = 1,
				     .in_thread = { 99, { "deps.py", "d", "d", 3 } } };
	struct world *world = *state;

	message(world, 2, ROLE_CLIENT, "*1\r\n$4\r\nINCR\r\n", 7, 103 * MS);
	receive(world, 2, ROLE_CLIENT, ":1\r\n", 103 * MS, 104 * MS);
	assert_int_equal(tracker_wait(world->tracker, &activity, &wait, 150 * MS), 0);
	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
	message(world, 1, ROLE_SERVER, OK "body", 7, 162 * MS);
	assert_int_equal(world->request_count, 1);
	assert_int_equal(world->requests[0].parts[PART_thread_run], 57 * MS);
	assert_int_equal(world->requests[0].parts[PART_thread_queue], 0);
}

/* A request that is known by nothing but what it waits for, such as one behind a proxy. */
static void test_wait_of_an_orphan(void **state)
{
	struct activity activity = { .pid = PID, .tid = TID, .request = 7 };
	struct request_wait wait = { .part = PART_timer_wait, .mark = 1 };
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
	assert_int_equal(tracker_wait(world->tracker, &activity, &wait, 120 * MS), 0);
	assert_int_equal(tracker_wait(world->tracker, &activity, &wait, 150 * MS), 0);
	world->step = 20;
	message(world, 1, ROLE_SERVER, OK "body", 7, 202 * MS);
	assert_int_equal(world->request_count, 1);
	assert_int_equal(world->requests[0].parts[PART_timer_wait], 100 * MS);
}

/* Of more places than are kept it is not known where, but how often. */
static void test_too_many_places(void **state)
{
	struct world *world = *state;

	for (uint32_t line = 1; line <= STACKS_MAX + 7; line++)
		stack_of_place(tracker_stacks(world->tracker),
			       &(struct place){ "app.py", "f", "f", line });
	assert_int_equal(tracker_counts(world->tracker).unplaced, 7);
}

/* The end of a request may have been lost: the next one does not get its response. */
static void test_gap(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, GET, 100 * MS, 101 * MS);
	tracker_gap(world->tracker);
	receive(world, 1, ROLE_SERVER, GET, 200 * MS, 201 * MS);
	message(world, 1, ROLE_SERVER, OK "body", 8, 210 * MS);
	assert_int_equal(world->request_count, 1);
	assert_int_equal(world->requests[0].start_ns, 200 * MS);
	assert_int_equal(tracker_counts(world->tracker).forgotten, 1);
}

static void test_websocket(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER,
		"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		100 * MS, 101 * MS);
	message(world, 1, ROLE_SERVER,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 7, 110 * MS);
	receive(world, 1, ROLE_SERVER, "\x81\x82....ab", 200 * MS, 201 * MS);
	more(world, 1, ROLE_SERVER, "\x81\x02" "ok", 202 * MS);
	assert_int_equal(world->request_count, 0);
	closed(world, 1, 900 * MS, false);
	assert_int_equal(world->request_count, 1);
	assert_true(world->requests[0].websocket);
	assert_false(world->requests[0].aborted);
	assert_int_equal(world->requests[0].messages_in, 1);
	assert_int_equal(world->requests[0].messages_out, 1);
}

/* What it does for one message is alike a request, and it may wait for something meanwhile. */
static void test_messages_of_a_websocket(void **state)
{
	static const unsigned calls[] = { 2, 4, 1 };
	const struct activity activity = { .pid = PID, .tid = TID, .request = 7,
					   .websocket = true };
	struct world *world = *state;
	uint64_t now = 200 * MS;

	receive(world, 1, ROLE_SERVER,
		"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		100 * MS, 101 * MS);
	message(world, 1, ROLE_SERVER,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 7, 110 * MS);
	for (size_t i = 0; i < 3; i++) {
		/* to be accepted is the first thing that it was asked for */
		assert_int_equal(tracker_is_busy(world->tracker, &activity, now), i == 0);
		assert_int_equal(tracker_open_requests(world->tracker, now, 1), i == 0);
		receive(world, 1, ROLE_SERVER, "\x81\x82....ab", now, now + MS);
		for (unsigned k = 0; k < calls[i]; k++, now += 20 * MS) {
			message(world, 2, ROLE_CLIENT, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 7,
				now + 2 * MS);
			receive(world, 2, ROLE_CLIENT, "$1\r\nv\r\n", now + 4 * MS, now + 5 * MS);
		}
		assert_true(tracker_is_busy(world->tracker, &activity, now));
		assert_int_equal(tracker_open_requests(world->tracker, now, 1), 1);
		more(world, 1, ROLE_SERVER, "\x81\x02" "ok", now + 6 * MS);
		now += 50 * MS;
	}
	closed(world, 1, 900 * MS, false);
	assert_int_equal(world->request_count, 1);
	assert_int_equal(world->site.count, 4);
	assert_int_equal(world->site.last_ns - world->site.first_ns, 62 * MS);
}

/* ---- TLS, where responses are written when their frames have gone ----------------- */

#define HELLO 22
#define DATA 23

/* A record with that many bytes in it, of the client at `port`. */
static void record(struct world *world, uint16_t port, uint8_t direction, uint8_t type,
		   uint16_t bytes, uint64_t now)
{
	struct event_transfer event = { .header = { .kind = EVENT_TRANSFER, .time_ns = now,
						    .tgid = PID, .tid = TID },
					.head = { type, 3, 3, (uint8_t)(bytes >> 8),
						  (uint8_t)bytes } };

	fill(&event.io, world, port, ROLE_SERVER, direction, "", now);
	event.io.peer_port = port;
	event.io.flags |= IO_TLS | IO_LATE;
	event.io.bytes = 5 + bytes;
	event.io.head_bytes = 5;
	event.io.arrived_ns = event.io.arrived_last_ns = now;
	assert_int_equal(tracker_event(world->tracker, NULL, &event.header, NULL), 0);
}

/* The server's line about its response to the client at `port`. */
static void logged(struct world *world, uint16_t port, uint64_t request, uint16_t status,
		   uint64_t now)
{
	struct event_response event = { .header = { .kind = EVENT_RESPONSE, .time_ns = now,
						    .tgid = PID, .tid = TID },
					.asgi = ASGI_START, .status = status };
	struct activity activity = { .pid = PID, .tid = TID, .request = request,
				     .client_port = port };

	activity.route.route = intern("/items/{id}");
	activity.route.method = intern("GET");
	fill(&event.io, world, 0, ROLE_SERVER, IO_LOGGED, "", now);
	assert_int_equal(tracker_event(world->tracker, NULL, &event.header, &activity), 0);
}

static void handshake(struct world *world, uint16_t port, uint64_t now)
{
	record(world, port, IO_RECEIVE, HELLO, 300, now);
	record(world, port, IO_SEND, HELLO, 1000, now + MS);
	record(world, port, IO_RECEIVE, DATA, 53, now + 2 * MS);
	record(world, port, IO_SEND, DATA, 250, now + 3 * MS);
}

static void test_told_by_the_log(void **state)
{
	struct world *world = *state;

	handshake(world, 50001, 10 * MS);
	record(world, 50001, IO_RECEIVE, DATA, 100, 100 * MS);
	logged(world, 50001, 7, 200, 110 * MS);
	record(world, 50001, IO_SEND, DATA, 400, 111 * MS);
	record(world, 50001, IO_SEND, DATA, 400, 130 * MS);
	assert_int_equal(world->request_count, 0);
	record(world, 50001, IO_RECEIVE, DATA, 100, 200 * MS);
	assert_int_equal(world->request_count, 1);
	logged(world, 50001, 8, 404, 210 * MS);
	record(world, 50001, IO_SEND, DATA, 400, 211 * MS);
	/* a good-bye, which looks like data, comes late */
	record(world, 50001, IO_SEND, DATA, 19, 900 * MS);
	closed(world, 50001, 901 * MS, false);
	assert_int_equal(world->request_count, 2);
	for (uint64_t i = 0; i < 2; i++) {
		assert_int_equal(world->requests[i].status, i ? 404 : 200);
		assert_int_equal(world->requests[i].identity, 7 + i);
		assert_int_equal(world->requests[i].start_ns, (100 + 100 * i) * MS);
		assert_int_equal(world->requests[i].first_byte_ns, (111 + 100 * i) * MS);
		assert_int_equal(world->requests[i].end_ns, (i ? 211 : 130) * MS);
		assert_string_equal(world->requests[i].route.route, "/items/{id}");
		assert_false(world->requests[i].aborted);
	}
	/* its client goes before there is anything to log */
	handshake(world, 50002, 1000 * MS);
	record(world, 50002, IO_RECEIVE, DATA, 100, 1100 * MS);
	closed(world, 50002, 1200 * MS, false);
	assert_int_equal(world->request_count, 3);
	assert_true(world->requests[2].aborted);
	/* answered when the window ends, and not */
	for (uint16_t port = 50003; port < 50005; port++) {
		handshake(world, port, 1300 * MS);
		record(world, port, IO_RECEIVE, DATA, 100, 1400 * MS);
	}
	logged(world, 50003, 9, 200, 1410 * MS);
	record(world, 50003, IO_SEND, DATA, 400, 1411 * MS);
	tracker_finish(world->tracker, 2000 * MS);
	assert_int_equal(world->request_count, 5);
	assert_int_equal(world->requests[3].end_ns, 1411 * MS);
	assert_false(world->requests[3].ongoing);
	assert_true(world->requests[4].ongoing);
	assert_int_equal(tracker_counts(world->tracker).untold, 0);
}

static void test_told_by_nothing(void **state)
{
	struct world *world = *state;

	for (uint16_t port = 50001; port < 50003; port++) {
		handshake(world, port, 10 * MS);
		for (uint64_t i = 1; i < 4; i++) {
			record(world, port, IO_RECEIVE, DATA, 100, 100 * i * MS);
			record(world, port, IO_SEND, DATA, 100, (100 * i + 50) * MS);
		}
	}
	closed(world, 50001, 1000 * MS, false);
	tracker_finish(world->tracker, 2000 * MS);
	assert_int_equal(world->request_count, 0);
	assert_int_equal(tracker_counts(world->tracker).untold, 2);
}

/* ---- what is no HTTP ---------------------------------------------------------------- */

static void test_no_http_is_counted(void **state)
{
	struct world *world = *state;

	receive(world, 1, ROLE_SERVER, "what is this?\r\n\r\n", 100 * MS, 101 * MS);
	receive(world, 1, ROLE_SERVER, "and this?\r\n\r\n", 102 * MS, 103 * MS);
	record(world, 2, IO_RECEIVE, HELLO, 300, 104 * MS);
	receive(world, 3, ROLE_SERVER, GET, 105 * MS, 106 * MS);
	message(world, 3, ROLE_SERVER, OK "body", 7, 107 * MS);
	for (uint64_t connection = 1; connection < 4; connection++)
		closed(world, connection, 200 * MS, false);
	assert_int_equal(tracker_counts(world->tracker).refused, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_parts_beyond_what_is_kept), TEST(test_keep_alive),
		TEST(test_pipelined), TEST(test_closed_in_the_middle),
		TEST(test_forgotten_process),
		TEST(test_ends_with_its_connection), TEST(test_still_open_at_the_end),
		TEST(test_response_alone), TEST(test_without_arrivals),
		TEST(test_held_up_by_whom), TEST(test_call_of_a_request),
		TEST(test_orphan_is_joined), TEST(test_orphan_that_is_not_seen_any_more),
		TEST(test_orphan_that_is_seen_again), TEST(test_refused),
		TEST(test_behind_the_turns_of_others), TEST(test_wait_fills_its_gap),
		TEST(test_too_many_places),
		TEST(test_thread_says_nothing), TEST(test_thread_of_an_orphan),
		TEST(test_wait_of_an_orphan), TEST(test_gap), TEST(test_websocket),
		TEST(test_messages_of_a_websocket), TEST(test_told_by_the_log),
		TEST(test_told_by_nothing), TEST(test_no_http_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
