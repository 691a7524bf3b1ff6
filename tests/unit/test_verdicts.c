// SPDX-License-Identifier: Apache-2.0
/* From what requests lost and what went on meanwhile to verdicts, and their words. */
#include <stdlib.h>

#include "activities.h"

#include "detect/summary.h"
#include "export/verdicts.h"

#define MS NS_PER_MS
#define LENGTH_NS (10 * NS_PER_S)

static const struct place caller = { "/srv/api.py", "load", "load", 40 };
static const struct place keeper = { "/srv/report.py", "render", "render", 20 };

static struct loop_summary one_loop = { .tid = 7, .steps = 100 };
static struct target_summary one_target = { .pid = 7, .loops = &one_loop, .loop_count = 1 };
static struct report report;
static uint64_t length_ns;

static int begin_verdicts(void **state)
{
	struct slow_log *log;
	struct case_state *t;

	begin(state);
	t = *state;
	log = &t->window.slow;
	log->start_ns = START_NS;
	log->least_ns[LOSS_LOOP] = t->thresholds.stall_ns;
	log->least_ns[LOSS_POOL] = log->least_ns[LOSS_THREADS] = t->thresholds.pool_wait_ns;
	log->least_ns[LOSS_PEER] = log->least_ns[LOSS_OTHER] = t->thresholds.slow_dependency_ns;
	t->window.pools.late_ns = t->thresholds.pool_wait_ns;
	t->window.dependencies.slow_ns = t->thresholds.slow_dependency_ns;
	t->window.dependencies.repeats = t->thresholds.repeated_calls;
	t->window.callables.slow_ns = t->thresholds.slow_dependency_ns;
	t->window.callables.share = t->thresholds.slow_share;
	t->window.callables.repeats = t->thresholds.repeated_executions;
	one_loop.steps = 100;
	length_ns = LENGTH_NS;
	return 0;
}

static int finish_verdicts(void **state)
{
	free(report.verdicts);
	report = (struct report){ 0 };
	return finish(state);
}

static void judge(struct case_state *t)
{
	struct detect_input input = {
		.window = &t->window, .thresholds = &t->thresholds, .start_ns = START_NS,
		.end_ns = START_NS + length_ns, .realtime_offset_ns = 5, .lost = t->lost,
	};

	findings_free(&t->findings);
	assert_int_equal(detect_all(&input, &t->findings), 0);
	free(report.verdicts);
	report = (struct report){ .targets = &one_target, .target_count = 1,
				  .start_ns = START_NS + 5, .end_ns = START_NS + length_ns + 5,
				  .findings = t->findings.items,
				  .finding_count = t->findings.count };
	assert_int_equal(verdicts_fill(&input, &report), 0);
}

/* Of the only interval, or of the one that begins `second` seconds after the attach. */
static const struct verdict *at(uint64_t second)
{
	for (size_t i = 0; i < report.verdict_count; i++)
		if (report.verdicts[i].start_ns == START_NS + second * NS_PER_S + 5)
			return &report.verdicts[i];
	fail_msg("no interval begins there");
	return NULL;
}

static const struct finding *named(const struct verdict *verdict)
{
	assert_true(verdict->finding >= 0);
	return &report.findings[verdict->finding];
}

static void assert_text(const struct verdict *verdict, const char *wanted)
{
	char *text = verdict_text(&report, verdict);

	assert_non_null(text);
	assert_string_equal(text, wanted);
	free(text);
}

static void move_to(struct case_state *t, uint64_t ms)
{
	t->now = START_NS + ms * MS;
}

/* A request that ends now and took as long as its parts, which are added up. */
static void request(struct case_state *t, const char *route, enum time_part part, uint64_t ms)
{
	struct served_request done = {
		.pid = 7, .tid = 7, .route = { .route = route, .method = "GET" }, .status = 200,
		.start_ns = t->now - (ms + 1) * MS, .end_ns = t->now,
	};

	done.parts[PART_timer_wait] = MS;
	done.parts[part] += ms * MS;
	assert_int_equal(window_add_request(&t->window, &done), 0);
}

static uint32_t pool_made(struct case_state *t, bool held)
{
	const struct code_info leaf = { .file = "/asyncio/locks.py", .qualname = "Event.wait",
					.function = "wait", .origin = CODE_STDLIB };
	const struct code_info pool = { .file = "/p/asyncpg/pool.py", .function = "x",
					.qualname = "Pool._acquire", .origin = CODE_LIBRARY };
	const struct frame frames[] = { { .code = &leaf }, { .code = &pool } };
	const struct pool_frames of = { .items = frames, .count = 2 };
	const struct task_info task = { .state = TASK_PENDING, .end = TASK_END_FUTURE };
	const struct pool_holder holder = { .route = "/export", .method = "GET",
					    .place = keeper, .since_ns = 80 * MS };
	uint32_t number = pools_row(&t->window.pools, 7, pool_match(&task, &of, &(size_t){ 0 }),
				    0x1000);
	struct pool_row *row = pools_at(&t->window.pools, number);

	row->name = intern("main");
	pools_note(row, &(struct pool_numbers){ 2, 2, 5 }, 3);
	if (held)
		pools_hold(row, &holder);
	return number;
}

/* A request that waited for a pool until now. */
static void pool_wait(struct case_state *t, uint32_t pool, uint64_t ms)
{
	const struct pool_wait wait = {
		.pid = 7, .pool = pool, .route = { .route = "/a", .method = "GET" },
		.site = caller, .start_ns = t->now - ms * MS, .end_ns = t->now, .seen = 3,
		.full = 3,
	};

	assert_int_equal(pools_wait(&t->window.pools, &wait), 0);
	request(t, "/a", PART_pool_wait, ms);
}

/* A call of a request that was answered now; a shape NULL: of an unknown protocol. */
static void call_of_peer(struct case_state *t, const char *peer, const char *shape, uint64_t ms)
{
	const struct peer_call call = { .start_ns = t->now - ms * MS, .sent_ns = t->now - ms * MS,
					.reply_ns = t->now, .end_ns = t->now,
					.shape = intern(shape) };
	const struct dependency_call it = {
		.pid = 7, .request = 5, .route = { .route = "/a", .method = "GET" },
		.culprit = caller, .peer = intern(peer), .call = &call,
	};

	assert_int_equal(dependencies_add(&t->window.dependencies, &it), 0);
	request(t, "/a", PART_dependency_wait, ms);
}

static void peer_call(struct case_state *t, uint64_t ms)
{
	call_of_peer(t, "10.0.0.5:5432", NULL, ms);
}

/* ---- one cause ----------------------------------------------------------------- */

static void healthy(void **state)
{
	struct case_state *t = *state;

	for (unsigned i = 1; i < 100; i++) {
		move_to(t, i * 90);
		request(t, "/a", PART_loop_cpu, 15);
		request(t, "/a", PART_timer_wait, 400);
		request(t, "/a", PART_client_wait, 400);
		request(t, "/a", PART_thread_run, 400);
		request(t, "/a", PART_thread_queue, 400);	/* but nobody was queued */
		request(t, "/a", PART_dependency_wait, 80);
	}
	judge(*state);
	assert_int_equal(report.verdict_count, 1);
	assert_int_equal(report.verdicts[0].kind, VERDICT_healthy);
	assert_int_equal(report.verdicts[0].start_ns, START_NS + 5);
	assert_int_equal(report.verdicts[0].end_ns, START_NS + LENGTH_NS + 5);
	assert_int_equal(report.verdicts[0].requests, 99 * 6);
	assert_int_equal(report.verdicts[0].slow, 0);
	assert_text(&report.verdicts[0], "healthy");
}

static void nothing_is_known(void **state)
{
	judge(*state);
	assert_int_equal(report.verdict_count, 1);
	assert_text(&report.verdicts[0], "healthy, but no request was answered");
	one_loop.steps = 0;	/* no loop was seen */
	judge(*state);
	assert_int_equal(report.verdict_count, 0);
}

static void blocked_loop(void **state)
{
	struct case_state *t = *state;

	move_to(t, 4300);
	add_call(t, 1, 200000);
	request(t, "/a/{id}", PART_loop_blocked, 200);
	request(t, "/ping", PART_behind_others, 190);
	judge(t);
	assert_int_equal(report.verdict_count, 3);
	assert_int_equal(at(0)->kind, VERDICT_healthy);
	assert_int_equal(at(4)->kind, VERDICT_loop_blocked);
	assert_int_equal(at(4)->end_ns, START_NS + 5 * NS_PER_S + 5);
	assert_int_equal(named(at(4))->kind, FINDING_blocking_call);
	assert_int_equal(at(4)->slow, 2);
	assert_text(at(4), "loop blocked by GET /a/{id}, /srv/app.py:12 work (clock_nanosleep); "
			   "2 requests slow, up to 201 ms");
	assert_int_equal(at(5)->kind, VERDICT_healthy);
}

static void blocked_loop_without_requests(void **state)
{
	struct case_state *t = *state;

	move_to(t, 2300);
	add_call(t, 0, 200000);
	judge(t);
	assert_text(at(2), "loop blocked by task sweeper, /srv/app.py:12 work (clock_nanosleep); "
			   "no request was slow");
	/* what is too short for a finding is no reason for anything */
	for (unsigned i = 0; i < 4; i++) {
		t->seq++;
		move_to(t, 5300 + i * 50);
		add_call(t, 0, 15000);
	}
	judge(t);
	assert_int_equal(at(3)->kind, VERDICT_healthy);
	assert_int_equal(at(3)->end_ns, START_NS + LENGTH_NS + 5);
}

static void empty_pool(void **state)
{
	struct case_state *t = *state;
	uint32_t pool = pool_made(t, true);

	for (unsigned i = 0; i < 4; i++) {
		move_to(t, 3300 + i * 100);
		pool_wait(t, pool, 250);
		/* those that have a connection wait for the peer, as always */
		request(t, "/export", PART_dependency_wait, 90);
	}
	judge(t);
	assert_int_equal(named(at(3))->kind, FINDING_db_pool_exhaustion);
	assert_text(at(3), "pool main (asyncpg, size 2) exhausted by GET /export, "
			   "/srv/report.py:20 render; 4 requests slow, up to 251 ms");
}

static void who_holds_it_is_not_known(void **state)
{
	struct case_state *t = *state;
	uint32_t pool = pool_made(t, false);

	move_to(t, 500);
	pool_wait(t, pool, 250);
	judge(t);
	assert_int_equal(at(0)->kind, VERDICT_pool_exhausted);
	assert_text(at(0), "pool main (asyncpg, size 2) exhausted, by whom was not seen; "
			   "1 request slow, up to 251 ms");
}

static void slow_peer(void **state)
{
	struct case_state *t = *state;
	static const struct dependant dependant = { .name = "app.deps.user" };
	const struct callable_time time = { .dependant = &dependant, .place = caller,
					    .executions = 1, .own_ns = 300 * MS,
					    .total_ns = 300 * MS, .blamed_ns = 300 * MS };
	struct served_request done = {
		.pid = 7, .route = { .route = "/a", .method = "GET" }, .status = 200,
		.callables = &time, .callable_count = 1,
	};

	move_to(t, 1400);
	peer_call(t, 250);
	done.start_ns = t->now - 300 * MS;
	done.end_ns = t->now;
	done.parts[PART_dependency_wait] = 300 * MS;
	assert_int_equal(window_add_request(&t->window, &done), 0);
	judge(t);
	/* the callable that waits for it is found as well, but the peer is the reason */
	assert_int_equal(report.finding_count, 2);
	assert_text(at(1), "dependency 10.0.0.5:5432 slow (median 250 ms), called by GET /a, "
			   "/srv/api.py:40 load; 2 requests slow, up to 300 ms");
	/* a callable that does something else */
	move_to(t, 6400);
	done.start_ns = t->now - 300 * MS;
	done.end_ns = t->now;
	done.parts[PART_dependency_wait] = 0;
	done.parts[PART_other_wait] = 300 * MS;
	assert_int_equal(window_add_request(&t->window, &done), 0);
	judge(t);
	assert_int_equal(at(6)->kind, VERDICT_slow_dependency);
	assert_int_equal(named(at(6))->kind, FINDING_slow_di_dependency);
	assert_text(at(6), "dependency app.deps.user slow (median 300 ms), called by GET /a, "
			   "/srv/api.py:40 load; 1 request slow, up to 300 ms");
}

static void no_cpu(void **state)
{
	struct case_state *t = *state;

	move_to(t, 2500);
	end_step(t, &(struct step_parts){ .cpu_user_ns = 5 * MS, .runnable_ns = 150 * MS });
	request(t, "/a", PART_behind_others, 140);
	judge(t);
	assert_int_equal(at(2)->kind, VERDICT_cpu_starved);
	assert_text(at(2), "CPU starved: rival (pid 99) had the CPU; 1 request slow, up to 141 ms");
}

static void cpu_work(void **state)
{
	struct case_state *t = *state;

	/* a stall of 1.5 s: the samples are shared out over the seconds it took */
	move_to(t, 1600);
	for (unsigned i = 0; i < 150; i++) {
		struct activity sample = made(t, ACTIVITY_SAMPLE, 1);

		sample.start_ns = START_NS + 1600 * MS;
		add(t, &sample);
		t->now += 10 * MS;
	}
	end_cpu_step(t, 1500);
	judge(t);
	assert_int_equal(at(1)->kind, VERDICT_loop_blocked);
	assert_int_equal(named(at(1))->kind, FINDING_cpu_stall);
	assert_int_equal(at(1)->end_ns, START_NS + 4 * NS_PER_S + 5);
}

/* ---- which one it is ------------------------------------------------------------- */

static void pool_and_not_the_peer_behind_it(void **state)
{
	struct case_state *t = *state;
	uint32_t pool = pool_made(t, true);

	move_to(t, 700);
	peer_call(t, 120);
	for (unsigned i = 0; i < 3; i++)
		pool_wait(t, pool, 120);
	judge(t);
	assert_int_equal(at(0)->kind, VERDICT_pool_exhausted);
	/* the other way round: one had to wait, all of them were answered late */
	for (unsigned i = 0; i < 6; i++)
		peer_call(t, 120);
	judge(t);
	assert_int_equal(at(0)->kind, VERDICT_slow_dependency);
	assert_int_equal(named(at(0))->kind, FINDING_slow_dependency);
}

static void loop_that_stands_and_not_what_waits_for_it(void **state)
{
	struct case_state *t = *state;
	uint32_t pool = pool_made(t, true);

	move_to(t, 3100);
	for (unsigned i = 0; i < 5; i++) {
		t->seq++;
		add_call(t, i, 140000);
		request(t, "/b", PART_loop_blocked, 140);
	}
	for (unsigned i = 0; i < 8; i++)
		pool_wait(t, pool, 600);
	judge(t);
	assert_int_equal(at(3)->kind, VERDICT_loop_blocked);
	assert_text(at(3), "loop blocked by GET /a/{id}, /srv/app.py:12 work (clock_nanosleep); "
			   "5 requests slow, up to 141 ms; explains 12 % of the time lost");
}

static void peer_and_not_the_loop_that_stood_for_a_moment(void **state)
{
	struct case_state *t = *state;

	move_to(t, 3100);
	add_call(t, 1, 40000);
	request(t, "/b", PART_loop_blocked, 40);
	for (unsigned i = 0; i < 3; i++)
		peer_call(t, 120);
	judge(t);
	assert_int_equal(report.finding_count, 2);
	assert_int_equal(at(3)->kind, VERDICT_slow_dependency);
	assert_int_equal(at(3)->slow, 3);
}

static void the_slowest_peer(void **state)
{
	struct case_state *t = *state;

	move_to(t, 3900);
	call_of_peer(t, "10.0.0.6:80", NULL, 150);
	call_of_peer(t, "10.0.0.7:80", NULL, 500);
	call_of_peer(t, "10.0.0.8:80", NULL, 250);
	judge(t);
	assert_int_equal(report.finding_count, 3);
	assert_string_equal(named(at(3))->peer, "10.0.0.7:80");
}

/* It waits because it is meant to, and nothing is found. */
static void wait_by_design(void **state)
{
	struct case_state *t = *state;

	move_to(t, 3100);
	call_of_peer(t, "10.0.0.5:6379", "BLPOP", 400);
	judge(t);
	assert_int_equal(report.finding_count, 0);
	assert_int_equal(report.verdict_count, 1);
	assert_int_equal(report.verdicts[0].kind, VERDICT_healthy);
}

static void losses_that_nothing_explains(void **state)
{
	struct case_state *t = *state;

	move_to(t, 3700);
	request(t, "/a", PART_other_wait, 600);
	request(t, "/a", PART_other_wait, 400);
	judge(t);
	assert_int_equal(report.verdict_count, 1);
	assert_int_equal(report.verdicts[0].kind, VERDICT_healthy);
	assert_text(&report.verdicts[0], "healthy as far as can be seen: 2 requests waited, up to "
					 "601 ms for something unknown, and no finding says why");
	/* two of many are no news, but those that hang are */
	for (unsigned i = 0; i < 200; i++)
		request(t, "/a", PART_timer_wait, 5);
	judge(t);
	assert_int_equal(report.verdicts[0].slow, 2);
	assert_text(&report.verdicts[0], "healthy");
	request(t, "/a", PART_other_wait, 1200);
	judge(t);
	assert_text(&report.verdicts[0],
		    "healthy as far as can be seen: 3 requests waited, up to 1.20 s for something "
		    "unknown, and no finding says why");
}

static void lost_events_are_said(void **state)
{
	struct case_state *t = *state;

	t->lost = 3;
	move_to(t, 300);
	add_call(t, 1, 200000);
	judge(t);
	assert_text(at(0), "loop blocked by GET /a/{id}, /srv/app.py:12 work (clock_nanosleep); "
			   "no request was slow; events were lost");
}

/* ---- intervals ------------------------------------------------------------------- */

static void block_at(struct case_state *t, uint64_t ms)
{
	move_to(t, ms);
	t->seq++;
	add_call(t, ms, 100000);
	request(t, "/a/{id}", PART_loop_blocked, 100);
}

static void one_incident(void **state)
{
	struct case_state *t = *state;

	block_at(t, 1200);
	block_at(t, 2200);
	block_at(t, 5200);	/* two healthy seconds are no recovery */
	judge(t);
	assert_int_equal(report.verdict_count, 3);
	assert_int_equal(at(1)->kind, VERDICT_loop_blocked);
	assert_int_equal(at(1)->slow, 3);
	assert_int_equal(at(1)->end_ns, START_NS + 6 * NS_PER_S + 5);
	/* another thing in between: it stays on its own */
	move_to(t, 4400);
	peer_call(t, 200);
	judge(t);
	assert_int_equal(at(4)->kind, VERDICT_slow_dependency);
	assert_int_equal(at(5)->kind, VERDICT_loop_blocked);
	assert_int_equal(at(5)->slow, 1);
}

static void slow_before_the_cause_was_over(void **state)
{
	struct case_state *t = *state;

	move_to(t, 3200);
	add_call(t, 1, 300000);
	/* what was behind goes on for two seconds with something else */
	move_to(t, 5600);
	{
		struct served_request done = {
			.pid = 7, .route = { .route = "/b", .method = "GET" }, .status = 200,
			.start_ns = START_NS + 3250 * MS, .end_ns = t->now,
			.parts = { [PART_behind_others] = 250 * MS,
				   [PART_timer_wait] = 2100 * MS },
		};

		assert_int_equal(window_add_request(&t->window, &done), 0);
	}
	judge(t);
	assert_int_equal(at(3)->kind, VERDICT_loop_blocked);
	assert_int_equal(at(3)->slow, 1);
	assert_int_equal(at(4)->kind, VERDICT_healthy);
	assert_int_equal(at(4)->slow, 0);
	assert_int_equal(report.verdict_count, 3);
}

static void hours_fit(void **state)
{
	struct case_state *t = *state;
	uint64_t requests = 0;

	length_ns = 3 * 3600 * NS_PER_S;
	for (uint64_t s = 1; s < 3 * 3600; s += 60)
		block_at(t, s * 1000);
	judge(t);
	assert_true(t->window.slow.slot_ns * SLOW_SLOTS >= length_ns);
	assert_int_equal(report.verdicts[0].start_ns, START_NS + 5);
	for (size_t i = 0; i < report.verdict_count; i++) {
		requests += report.verdicts[i].requests;
		if (i)
			assert_int_equal(report.verdicts[i].start_ns,
					 report.verdicts[i - 1].end_ns);
	}
	assert_int_equal(requests, 180);
	assert_int_equal(report.verdicts[report.verdict_count - 1].end_ns,
			 START_NS + length_ns + 5);
	assert_int_equal(t->window.slow.lost, 0);
}

static void long_slots_are_where_they_were(void **state)
{
	struct case_state *t = *state;

	length_ns = 2000 * NS_PER_S;
	block_at(t, 1001500);
	block_at(t, 1999500);
	judge(t);
	assert_int_equal(t->window.slow.slot_ns, 8 * NS_PER_S);
	assert_int_equal(report.verdict_count, 4);
	assert_int_equal(at(1000)->kind, VERDICT_loop_blocked);
	assert_int_equal(at(1000)->slow, 1);
	assert_int_equal(at(1008)->kind, VERDICT_healthy);
	assert_int_equal(at(1992)->kind, VERDICT_loop_blocked);
}

static void an_idle_night(void **state)
{
	struct case_state *t = *state;

	length_ns = 12 * 3600 * NS_PER_S;
	block_at(t, 1500);
	judge(t);
	assert_int_equal(report.verdict_count, 3);
	assert_int_equal(at(2)->end_ns, START_NS + length_ns + 5);
}

/* ---- on the page ----------------------------------------------------------------- */

static void assert_page(bool all, const char *wanted)
{
	struct page page = { .width = 160 };
	char *text = NULL;
	size_t size = 0;

	page.out = open_memstream(&text, &size);
	assert_non_null(page.out);
	text_verdicts(&page, &report, all);
	fclose(page.out);
	assert_int_equal(page.error, 0);
	assert_string_equal(text, wanted);
	free(text);
}

static void one_line_until_it_changes(void **state)
{
	struct case_state *t = *state;

	request(t, "/a", PART_timer_wait, 5);
	judge(t);
	assert_page(false, "verdict: healthy\n");
	move_to(t, 2400);
	peer_call(t, 200);
	peer_call(t, 200);
	judge(t);
	assert_page(false,
		    "verdict, for 1.00 s of 10.0 s: dependency 10.0.0.5:5432 slow (median 200 ms), "
		    "called by GET /a, /srv/api.py:40 load; 2 requests slow, up to 201 ms\n"
		    "  0 s to 2 s: healthy\n"
		    "  2 s to 3 s: dependency 10.0.0.5:5432 slow (median 200 ms), "
		    "called by GET /a, /srv/api.py:40 load; 2 requests slow, up to 201 ms\n");
	for (unsigned i = 4; i < 10; i++) {
		move_to(t, i * 1000 + 500);
		request(t, "/a", PART_timer_wait, 5);
	}
	move_to(t, 8400);
	for (unsigned i = 0; i < 5; i++)
		peer_call(t, 200);
	judge(t);
	assert_int_equal(report.verdict_count, 5);
	assert_page(false,
		    "verdict, for 2.00 s of 10.0 s: dependency 10.0.0.5:5432 slow (median 200 ms), "
		    "called by GET /a, /srv/api.py:40 load; 7 requests slow, up to 201 ms\n"
		    "  0 s to 2 s: healthy\n"
		    "  2 s to 3 s: dependency 10.0.0.5:5432 slow (median 200 ms), "
		    "called by GET /a, /srv/api.py:40 load; 2 requests slow, up to 201 ms\n"
		    "  3 s to 8 s: healthy\n"
		    "  8 s to 9 s: dependency 10.0.0.5:5432 slow (median 200 ms), "
		    "called by GET /a, /srv/api.py:40 load; 5 requests slow, up to 201 ms\n"
		    "  and 1 more change, see -v or --json\n");
}

/* Two culprits that take turns block the loop all the time. */
static void culprits_that_take_turns(void **state)
{
	struct case_state *t = *state;

	block_at(t, 1200);
	move_to(t, 2400);
	add_call(t, 0, 90000);
	judge(t);
	assert_int_equal(report.verdict_count, 4);
	assert_page(false,
		    "verdict, for 1.00 s of 10.0 s: loop blocked by GET /a/{id}, /srv/app.py:12 "
		    "work (clock_nanosleep); 1 request slow, up to 101 ms\n");
}

/* Before the first request and after the last one nothing changed. */
static void idle_at_both_ends(void **state)
{
	struct case_state *t = *state;

	move_to(t, 2400);
	peer_call(t, 200);
	judge(t);
	assert_int_equal(report.verdict_count, 3);
	assert_page(false,
		    "verdict: dependency 10.0.0.5:5432 slow (median 200 ms), "
		    "called by GET /a, /srv/api.py:40 load; 1 request slow, up to 201 ms\n");
}

/* What waits for a CPU at once does not have the loop together. */
static void share_of_the_loop(void **state)
{
	struct case_state *t = *state;
	struct detect_input input = { .window = &t->window, .thresholds = &t->thresholds,
				      .start_ns = START_NS, .end_ns = START_NS + LENGTH_NS };
	struct report summary = { 0 };

	move_to(t, 1000);
	for (unsigned i = 0; i < 16; i++)
		request(t, "/items", PART_cpu_wait, 100);
	request(t, "/items", PART_loop_cpu, 20);
	request(t, "/items", PART_loop_blocked, 30);
	assert_int_equal(summary_fill(&input, 100 * MS, &summary), 0);
	assert_int_equal(summary.route_count, 1);
	assert_true(summary.routes[0].loop_share > 0.499 && summary.routes[0].loop_share < 0.501);
	report_free(&summary);
}

#define VERDICT_TEST(name) cmocka_unit_test_setup_teardown(name, begin_verdicts, finish_verdicts)

int main(void)
{
	const struct CMUnitTest tests[] = {
		VERDICT_TEST(healthy),
		VERDICT_TEST(nothing_is_known),
		VERDICT_TEST(blocked_loop),
		VERDICT_TEST(blocked_loop_without_requests),
		VERDICT_TEST(empty_pool),
		VERDICT_TEST(who_holds_it_is_not_known),
		VERDICT_TEST(slow_peer),
		VERDICT_TEST(no_cpu),
		VERDICT_TEST(cpu_work),
		VERDICT_TEST(pool_and_not_the_peer_behind_it),
		VERDICT_TEST(loop_that_stands_and_not_what_waits_for_it),
		VERDICT_TEST(peer_and_not_the_loop_that_stood_for_a_moment),
		VERDICT_TEST(the_slowest_peer),
		VERDICT_TEST(wait_by_design),
		VERDICT_TEST(losses_that_nothing_explains),
		VERDICT_TEST(lost_events_are_said),
		VERDICT_TEST(one_incident),
		VERDICT_TEST(slow_before_the_cause_was_over),
		VERDICT_TEST(hours_fit),
		VERDICT_TEST(long_slots_are_where_they_were),
		VERDICT_TEST(an_idle_night),
		VERDICT_TEST(one_line_until_it_changes),
		VERDICT_TEST(culprits_that_take_turns),
		VERDICT_TEST(idle_at_both_ends),
		VERDICT_TEST(share_of_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
