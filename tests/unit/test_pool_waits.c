// SPDX-License-Identifier: Apache-2.0
/* From looks at requests that wait for a pool to waits, and from those to findings. */
#include "activities.h"

#include "attribute/tracker.h"
#include "attribute/waits.h"
#include "detect/summary.h"

#define MS NS_PER_MS

static const struct place waiting = { "/srv/db.py", "totals", "totals", 90 };
static const struct place busy = { "/srv/report.py", "render", "render", 20 };

static const struct pool_signature *signature_of(enum pool_class class)
{
	static const struct {
		const char *file, *qualname;
	} rows[] = {
		[POOL_THREADS] = { "/p/anyio/_backends/_asyncio.py", "CapacityLimiter.acquire" },
		[POOL_DATABASE] = { "/p/asyncpg/pool.py", "Pool._acquire" },
		[POOL_LOCK] = { "/p/anyio/_backends/_asyncio.py", "Lock.acquire" },
		[POOL_HTTP] = { "/p/httpcore/_async/connection_pool.py",
				"AsyncConnectionPool.handle_async_request" },
	};
	const struct code_info leaf = { .file = "/asyncio/locks.py", .qualname = "Event.wait",
					.function = "wait", .origin = CODE_STDLIB };
	const struct code_info pool = { .file = rows[class].file, .function = "x",
					.qualname = rows[class].qualname,
					.origin = CODE_LIBRARY };
	const struct code_info app = { .file = "/srv/app.py", .qualname = "app",
				       .function = "app", .origin = CODE_APPLICATION };
	const struct frame frames[] = { { .code = &leaf }, { .code = &pool }, { .code = &app } };
	const struct pool_frames of = { .items = frames, .count = 3 };
	const struct task_info task = { .state = TASK_PENDING, .end = TASK_END_FUTURE };
	const struct pool_signature *signature = pool_match(&task, &of, &(size_t){ 0 });

	assert_non_null(signature);
	assert_int_equal(pool_class(signature), class);
	return signature;
}

static int begin_pools(void **state)
{
	struct case_state *t;

	begin(state);
	t = *state;
	t->window.pools.late_ns = t->thresholds.pool_wait_ns;
	return 0;
}

static struct pool_row *row_made(struct case_state *t, enum pool_class class, pid_t pid,
				 uint32_t *ret_number)
{
	const struct pool_numbers full = { 2, 2, 5 };
	struct pool_row *row;

	*ret_number = pools_row(&t->window.pools, pid, signature_of(class), 0x1000);
	row = pools_at(&t->window.pools, *ret_number);
	assert_non_null(row);
	row->name = intern("main");
	pools_note(row, &full, 3);
	return row;
}

static void wait_for(struct case_state *t, uint32_t pool, const char *route, uint64_t ms,
		     unsigned full)
{
	const struct pool_wait wait = {
		.pid = 7, .pool = pool, .route = { .route = route, .method = "GET" },
		.site = waiting, .start_ns = t->now, .end_ns = t->now + ms * MS, .seen = 3,
		.full = full,
	};

	t->now += MS;
	assert_int_equal(pools_wait(&t->window.pools, &wait), 0);
}

/* ---- findings ------------------------------------------------------------------ */

static void momentary_waits_are_silent(void **state)
{
	struct case_state *t = *state;
	struct pool_row *row;
	uint32_t pool;

	row = row_made(t, POOL_DATABASE, 7, &pool);
	wait_for(t, pool, "/a", 49, 3);	/* short */
	wait_for(t, pool, "/a", 400, 1);	/* seen once while nothing was left */
	none(t);
	assert_int_equal(row->wait.count, 2);
}

static void connections_name_the_line_that_waits(void **state)
{
	struct case_state *t = *state;
	const struct pool_holder holder = { .route = "/a", .method = "GET", .place = busy,
					    .since_ns = 80 * MS };
	const struct finding *finding;
	struct pool_row *row;
	uint32_t pool, other;

	row = row_made(t, POOL_DATABASE, 7, &pool);
	pools_hold(row, &holder);
	wait_for(t, pool, "/a", 50, 2);
	wait_for(t, pool, "/a", 200, 4);
	/* the same place in another process */
	row_made(t, POOL_DATABASE, 8, &other);
	assert_int_not_equal(pool, other);
	wait_for(t, other, "/a", 100, 2);
	finding = only(t, FINDING_db_pool_exhaustion);
	assert_string_equal(finding->route, "/a");
	assert_string_equal(finding->culprit.qualname, "totals");
	assert_int_equal(finding->culprit.line, 90);
	assert_int_equal(finding->count, 3);
	assert_int_equal(finding->requests, 3);
	assert_int_equal(finding->process_count, 2);
	assert_int_equal(finding->duration.p50, 100 * MS);
	assert_int_equal(finding->duration.max, 200 * MS);
	assert_int_equal(finding->samples, 9);
	assert_false(finding->blocks_loop);
	assert_non_null(finding->pool);
	assert_string_equal(finding->pool->kind, "asyncpg");
	assert_int_equal(finding->pool->size, 2);
	assert_int_equal(finding->pool->waiters_max, 5);
	assert_int_equal(finding->pool->holder_count, 1);
	assert_string_equal(finding->pool->holders[0].place.qualname, "render");
	assert_int_equal(finding->pool->holders[0].since_ns, 80 * MS);
}

static void convoys_name_the_line_that_waits_and_the_holder(void **state)
{
	struct case_state *t = *state;
	const struct pool_holder holder = { .route = "/b", .method = "GET", .place = busy,
					    .since_ns = 80 * MS };
	const struct finding *finding;
	struct pool_row *row;
	uint32_t pool;

	row = row_made(t, POOL_LOCK, 7, &pool);
	row->name = NULL;
	pools_note(row, &(struct pool_numbers){ 1, 1, 5 }, 5);
	pools_hold(row, &holder);
	wait_for(t, pool, "/a", 60, 3);
	wait_for(t, pool, "/a", 120, 3);
	wait_for(t, pool, "/a", 30, 2);	/* short */
	none(t);	/* two met at it */
	wait_for(t, pool, "/a", 90, 3);
	finding = only(t, FINDING_lock_wait);
	assert_string_equal(finding->culprit.qualname, "totals");
	assert_string_equal(finding->route, "/a");
	assert_int_equal(finding->count, 3);
	assert_int_equal(finding->duration.p50, 90 * MS);
	assert_false(finding->blocks_loop);
	assert_string_equal(finding->pool->kind, "anyio.Lock");
	assert_int_equal(finding->pool->size, 1);
	assert_string_equal(finding->pool->holders[0].route, "/b");
	assert_string_equal(finding->pool->holders[0].place.qualname, "render");
	assert_non_null(strstr(finding_text(finding), "requests wait for each other"));
}

static void many_locks_are_bounded(void **state)
{
	struct case_state *t = *state;

	for (uint64_t i = 1; i <= POOLS_LOCKS; i++)
		assert_int_equal(pools_row(&t->window.pools, 7, signature_of(POOL_LOCK), i << 12),
				 i);
	assert_int_equal(pools_row(&t->window.pools, 7, signature_of(POOL_LOCK), 1), 0);
	assert_int_equal(t->window.pools.lost, 1);
	assert_int_equal(pools_row(&t->window.pools, 7, signature_of(POOL_LOCK), 1 << 12), 1);
	assert_int_equal(pools_row(&t->window.pools, 7, signature_of(POOL_HTTP), 1),
			 POOLS_LOCKS + 1);
}

static void threads_name_what_occupies_them(void **state)
{
	struct case_state *t = *state;
	const struct pool_holder most = { .route = "/slow", .method = "GET", .place = busy };
	const struct pool_holder least = { .route = "/b", .method = "GET", .place = waiting };
	const struct finding *finding;
	struct pool_row *row;
	uint32_t pool;

	row = row_made(t, POOL_THREADS, 7, &pool);
	pools_hold(row, &least);
	pools_hold(row, &most);
	pools_hold(row, &most);
	wait_for(t, pool, "/slow", 300, 3);
	wait_for(t, pool, "/fast", 310, 3);
	wait_for(t, pool, "/fast", 90, 3);
	finding = only(t, FINDING_threadpool_exhaustion);
	assert_string_equal(finding->route, "/slow");
	assert_string_equal(finding->culprit.qualname, "render");
	assert_int_equal(finding->count, 3);
	assert_int_equal(finding->victim_count, 1);
	assert_string_equal(finding->victims[0].route, "/fast");
	assert_int_equal(finding->victims[0].requests, 2);
	assert_int_equal(finding->victims[0].max_ns, 310 * MS);
	assert_int_equal(finding->victims[0].total_ns, 400 * MS);
}

/* What occupies the threads of one process is not what occupies those of another. */
static void threads_of_two_processes(void **state)
{
	const struct pool_holder one = { .route = "/slow", .method = "GET", .place = busy };
	const struct pool_holder two = { .route = "/b", .method = "GET", .place = waiting };
	struct detect_input input;
	struct case_state *t = *state;
	struct findings findings = { 0 };
	uint32_t first, second;

	pools_hold(row_made(t, POOL_THREADS, 7, &first), &one);
	pools_hold(row_made(t, POOL_THREADS, 8, &second), &two);
	wait_for(t, first, "/a", 300, 3);
	wait_for(t, second, "/a", 200, 3);
	input = (struct detect_input){ .window = &t->window, .thresholds = &t->thresholds };
	assert_int_equal(find_threadpool_exhaustion(&input, &findings), 0);
	assert_int_equal(findings.count, 2);
	assert_string_equal(findings.items[0].route, "/slow");
	assert_int_equal(findings.items[0].process_count, 1);
	assert_string_equal(findings.items[1].route, "/b");
	findings_free(&findings);
}

/* A pool that threads wait for, of SQLAlchemy. */
static const struct pool_signature *of_threads(void)
{
	const struct code_info codes[] = {
		{ .file = "/lib/threading.py", .qualname = "Condition.wait", .function = "wait",
		  .origin = CODE_STDLIB },
		{ .file = "/p/sqlalchemy/pool/impl.py", .qualname = "QueuePool._do_get",
		  .function = "_do_get", .origin = CODE_LIBRARY },
	};
	const struct frame frames[] = { { .code = &codes[0] }, { .code = &codes[1] } };
	const struct pool_frames of = { .items = frames, .count = 2 };

	return pool_match_thread(&of, &(size_t){ 0 });
}

static void hold(struct pool_row *row, const char *route, bool waits, unsigned times)
{
	const struct pool_holder holder = { .route = route, .method = "GET",
					    .place = waits ? waiting : busy, .waits = waits };

	while (times--)
		pools_hold(row, &holder);
}

static void threads_that_only_wait_for_connections(void **state)
{
	const struct pool_numbers full = { 2, 2, 2 };
	struct case_state *t = *state;
	uint32_t threads, connections;
	struct pool_row *row;

	row = row_made(t, POOL_THREADS, 7, &threads);
	connections = pools_row(&t->window.pools, 7, of_threads(), 0x2000);
	pools_note(pools_at(&t->window.pools, connections), &full, 2);
	hold(row, "/query", true, 4);
	hold(row, "/query", false, 4);
	hold(row, "/other", false, 1);
	wait_for(t, connections, "/query", 300, 3);
	wait_for(t, threads, "/query", 300, 3);
	assert_string_equal(only(t, FINDING_db_pool_exhaustion)->route, "/query");
}

static void threads_and_connections(void **state)
{
	const struct pool_numbers full = { 2, 2, 2 };
	struct findings findings = { 0 };
	struct detect_input input;
	struct case_state *t = *state;
	uint32_t threads, connections;
	struct pool_row *row;

	row = row_made(t, POOL_THREADS, 7, &threads);
	connections = pools_row(&t->window.pools, 7, of_threads(), 0x2000);
	pools_note(pools_at(&t->window.pools, connections), &full, 2);
	hold(row, "/query", true, 5);
	hold(row, "/other", false, 6);
	wait_for(t, connections, "/query", 300, 3);
	wait_for(t, threads, "/other", 300, 3);
	input = (struct detect_input){ .window = &t->window, .thresholds = &t->thresholds };
	assert_int_equal(find_threadpool_exhaustion(&input, &findings), 0);
	assert_int_equal(find_db_pool_exhaustion(&input, &findings), 0);
	assert_int_equal(findings.count, 2);
	/* those that only wait occupy the threads, but are not why */
	assert_string_equal(findings.items[0].route, "/other");
	assert_string_equal(findings.items[0].culprit.qualname, "render");
	assert_string_equal(findings.items[1].route, "/query");
	findings_free(&findings);
}

static void numbers_that_are_not_known(void **state)
{
	static const struct pool_numbers unknown = { -1, -1, -1 };
	struct detect_input input;
	struct report report = { 0 };
	struct case_state *t = *state;
	struct pool_row *row;
	uint32_t pool;

	pool = pools_row(&t->window.pools, 7, signature_of(POOL_HTTP), 0);
	row = pools_at(&t->window.pools, pool);
	pools_note(row, &unknown, 2);
	/* while it waits, its route is known to be one that uses the pool, and that is all */
	assert_false(pools_used_by(row, "/a", "GET"));
	pools_waits(row, &(struct route_name){ .route = "/a", .method = "GET" }, &waiting);
	assert_true(pools_used_by(row, "/a", "GET"));
	assert_int_equal(row->wait.count, 0);
	/* its frame is only there when no connection is left */
	assert_true(row->full);
	assert_int_equal(row->waiters_max, 2);
	wait_for(t, pool, "/a", 200, 2);
	assert_int_equal(only(t, FINDING_http_pool_exhaustion)->pool->size, -1);
	input = (struct detect_input){ .window = &t->window, .thresholds = &t->thresholds };
	assert_int_equal(pools_fill(&input, &report), 0);
	assert_int_equal(report.pool_count, 1);
	assert_int_equal(report.pools[0].in_use_max, -1);
	assert_int_equal(report.pools[0].wait.count, 1);
	report_free(&report);
	/* room was left when it was read */
	pools_note(row, &(struct pool_numbers){ 4, 3, 1 }, 1);
	assert_false(row->full);
	/* of six that wait, as it says, seven were seen one after the other */
	pools_note(row, &(struct pool_numbers){ 4, 4, 6 }, 7);
	assert_true(row->full);
	assert_int_equal(row->waiters_max, 6);
	/* the next time it changed meanwhile: its size did not */
	pools_note(row, &unknown, 2);
	assert_true(row->full);
	assert_int_equal(pools_fill(&input, &report), 0);
	assert_int_equal(report.pools[0].size, 4);
	assert_int_equal(report.pools[0].in_use, 4);
	report_free(&report);
}

/* ---- waits --------------------------------------------------------------------- */

static struct pool_wait waits[8];
static size_t wait_count;

static void on_pool_wait(void *context, const struct pool_wait *wait)
{
	(void)context;
	assert_true(wait_count < 8);
	waits[wait_count++] = *wait;
}

static void on_request(void *context, const struct served_request *request)
{
	(void)context;
	(void)request;
}

static struct tracker *tracker;
static const struct activity someone = { .pid = 7, .tid = 7, .request = 77,
					 .route = { .route = "/a", .method = "GET" } };

static void look(uint64_t at_ms, uint32_t pool, uint64_t call, uint64_t future)
{
	const struct pool_look seen = { .pool = pool, .full = true, .call = call,
					.future = future, .site = waiting };

	tracker_pool_wait(tracker, &someone, &seen, START_NS + at_ms * MS);
}

/* Its code had the loop from then on. */
static void ran(uint64_t at_ms)
{
	struct event_sample sample = {
		.header = { .kind = EVENT_SAMPLE, .tgid = 7, .tid = 7,
			    .time_ns = START_NS + at_ms * MS + 1000 },
		.own = { .start_ns = START_NS + at_ms * MS },
	};

	assert_int_equal(tracker_event(tracker, NULL, &sample.header, &someone), 0);
}

/* It had what it waited for, and sent something. */
static void used(uint64_t at_ms)
{
	struct event_message message = {
		.header = { .kind = EVENT_MESSAGE, .tgid = 7, .tid = 7,
			    .time_ns = START_NS + at_ms * MS + 1000 },
		.io = { .connection = 9, .role = ROLE_CLIENT, .direction = IO_SEND, .bytes = 4,
			.head_bytes = 4, .peer_port = 6379, .family = FD_INET,
			.own = { .start_ns = START_NS + at_ms * MS } },
		.head = "PING",
	};

	assert_int_equal(tracker_event(tracker, NULL, &message.header, &someone), 0);
}

static int begin_tracker(void **state)
{
	const struct tracker_sink sink = { .on_request = on_request,
					   .on_pool_wait = on_pool_wait };

	(void)state;
	wait_count = 0;
	tracker = tracker_new(&sink);
	return tracker ? 0 : -1;
}

static int finish_tracker(void **state)
{
	(void)state;
	tracker_free(tracker);
	return 0;
}

static void a_site_that_is_known_late(void **state)
{
	const struct pool_look before = { .pool = 1, .full = true, .call = 5, .future = 6 };

	(void)state;
	ran(0);
	tracker_pool_wait(tracker, &someone, &before, START_NS + 20 * MS);
	look(60, 1, 5, 6);
	ran(90);
	look(120, 0, 0, 0);
	assert_int_equal(wait_count, 1);
	assert_int_equal(waits[0].seen, 2);
	assert_string_equal(waits[0].site.file, waiting.file);
}

static void a_wait_ends_when_its_request_runs(void **state)
{
	(void)state;
	ran(0);
	look(20, 1, 5, 6);
	look(60, 1, 5, 6);
	assert_int_equal(wait_count, 0);
	ran(90);
	look(120, 0, 0, 0);
	assert_int_equal(wait_count, 1);
	assert_int_equal(waits[0].pool, 1);
	assert_int_equal(waits[0].seen, 2);
	assert_int_equal(waits[0].full, 2);
	assert_false(waits[0].again);
	assert_int_equal(waits[0].end_ns, START_NS + 90 * MS);
	assert_true(waits[0].start_ns < START_NS + 20 * MS);
	assert_ptr_equal(waits[0].site.file, waiting.file);
	/* again, and nobody saw when it got it: between the looks */
	look(140, 1, 8, 9);
	look(160, 0, 0, 0);
	assert_int_equal(wait_count, 2);
	assert_true(waits[1].again);
	assert_int_equal(waits[1].end_ns, START_NS + 150 * MS);
}

static void somebody_else_was_quicker(void **state)
{
	(void)state;
	look(20, 1, 5, 6);
	look(40, 1, 5, 7);	/* the same call goes on to wait */
	look(60, 1, 5, 7);
	assert_int_equal(wait_count, 0);
	used(70);		/* the next call has the same address */
	look(80, 1, 5, 8);
	assert_int_equal(wait_count, 1);
	assert_int_equal(waits[0].seen, 3);
	assert_int_equal(waits[0].end_ns, START_NS + 70 * MS);
	look(90, 2, 5, 8);	/* another pool */
	assert_int_equal(wait_count, 2);
}

/* It had its thread, and asks for one again by the same call. */
static void a_thread_was_got(void **state)
{
	const struct event_work work = {
		.header = { .kind = EVENT_WORK, .tgid = 7, .tid = 9,
			    .time_ns = START_NS + 35 * MS },
		.start_ns = START_NS + 30 * MS,
	};

	(void)state;
	look(20, 1, 5, 6);
	assert_int_equal(tracker_event(tracker, NULL, &work.header, &someone), 0);
	look(40, 1, 5, 7);
	assert_int_equal(wait_count, 1);
	assert_int_equal(waits[0].end_ns, START_NS + 30 * MS);
}

/* It is woken, finds nothing, and waits on in the same call; or it does not. */
static void woken_for_nothing(void **state)
{
	const struct pool_look ready = { .ready = true };

	(void)state;
	look(20, 1, 5, 6);
	tracker_pool_wait(tracker, &someone, &ready, START_NS + 40 * MS);
	look(60, 1, 5, 7);
	assert_int_equal(wait_count, 0);
	tracker_pool_wait(tracker, &someone, &ready, START_NS + 80 * MS);
	tracker_pool_wait(tracker, &someone, &ready, START_NS + 90 * MS);
	assert_int_equal(wait_count, 0);
	look(100, 0, 0, 0);
	assert_int_equal(wait_count, 1);
	assert_int_equal(waits[0].end_ns, START_NS + 70 * MS);
}

static void another_task_of_it_runs(void **state)
{
	(void)state;
	look(20, 1, 5, 6);
	ran(30);
	look(40, 1, 5, 6);
	ran(50);
	look(60, 1, 5, 6);
	assert_int_equal(wait_count, 0);
	look(80, 0, 0, 0);
	assert_int_equal(wait_count, 1);
	assert_int_equal(waits[0].seen, 3);
	assert_int_equal(waits[0].end_ns, START_NS + 70 * MS);
}

/* A thread's wait begins no earlier than between two looks, and ends before the thread's end. */
static void threads_wait(void **state)
{
	struct pool_look seen = { .pool = 1, .full = true, .call = 5, .future = 6,
				  .site = waiting, .thread = true,
				  .since_ns = START_NS + 30 * MS };
	struct event_work work = {
		.header = { .kind = EVENT_WORK, .tgid = 7, .tid = 9,
			    .time_ns = START_NS + 200 * MS },
		.start_ns = START_NS + 10 * MS,
	};

	(void)state;
	ran(0);
	tracker_pool_wait(tracker, &someone, &seen, START_NS + 40 * MS);
	tracker_pool_wait(tracker, &someone, &seen, START_NS + 80 * MS);
	/* the next call of the same thread */
	seen.call = 7;
	seen.since_ns = START_NS + 110 * MS;
	tracker_pool_wait(tracker, &someone, &seen, START_NS + 120 * MS);
	assert_int_equal(wait_count, 1);
	assert_int_equal(waits[0].start_ns, START_NS + 30 * MS);
	assert_int_equal(waits[0].end_ns, START_NS + 100 * MS);
	assert_int_equal(tracker_event(tracker, NULL, &work.header, &someone), 0);
	assert_int_equal(wait_count, 2);
	assert_int_equal(waits[1].start_ns, START_NS + 110 * MS);
	assert_int_equal(waits[1].end_ns, START_NS + 160 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(momentary_waits_are_silent, begin_pools, finish),
		cmocka_unit_test_setup_teardown(connections_name_the_line_that_waits, begin_pools,
						finish),
		cmocka_unit_test_setup_teardown(convoys_name_the_line_that_waits_and_the_holder,
						begin_pools, finish),
		cmocka_unit_test_setup_teardown(many_locks_are_bounded, begin_pools, finish),
		cmocka_unit_test_setup_teardown(threads_name_what_occupies_them, begin_pools,
						finish),
		cmocka_unit_test_setup_teardown(threads_of_two_processes, begin_pools, finish),
		cmocka_unit_test_setup_teardown(threads_that_only_wait_for_connections,
						begin_pools, finish),
		cmocka_unit_test_setup_teardown(threads_and_connections, begin_pools, finish),
		cmocka_unit_test_setup_teardown(numbers_that_are_not_known, begin_pools, finish),
		cmocka_unit_test_setup_teardown(a_site_that_is_known_late, begin_tracker,
						finish_tracker),
		cmocka_unit_test_setup_teardown(a_wait_ends_when_its_request_runs, begin_tracker,
						finish_tracker),
		cmocka_unit_test_setup_teardown(somebody_else_was_quicker, begin_tracker,
						finish_tracker),
		cmocka_unit_test_setup_teardown(a_thread_was_got, begin_tracker, finish_tracker),
		cmocka_unit_test_setup_teardown(woken_for_nothing, begin_tracker, finish_tracker),
		cmocka_unit_test_setup_teardown(another_task_of_it_runs, begin_tracker,
						finish_tracker),
		cmocka_unit_test_setup_teardown(threads_wait, begin_tracker, finish_tracker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
