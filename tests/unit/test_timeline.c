// SPDX-License-Identifier: Apache-2.0
/* Spans that overlap become parts that add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "attribute/stacks.h"
#include "attribute/timeline.h"
#include "attribute/waits.h"
#include "base/units.h"

#define MS NS_PER_MS
#define PID 10
#define TID 11

static uint64_t sum_of(const uint64_t parts[PART_COUNT])
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PART_COUNT; i++)
		sum += parts[i];
	return sum;
}

/* The loop ran for it from start to end, with `busy` on its clock at the end. */
static void own(struct timeline *timeline, const struct step_log *log, uint64_t start,
		uint64_t end, uint64_t busy, uint64_t seq, uint64_t blocked)
{
	struct own_time time = { .start_ns = start, .busy_ns = busy, .blocked_ns = blocked,
				 .cpu_ns = end - start - blocked };
	struct loop_moment moment = { PID, TID, end, seq, &time };

	assert_int_equal(timeline_own(timeline, &moment, log), 0);
}

/* A step of a loop that was never idle, with 900 ms on its clock at 0. */
static void long_step(struct step_log *log, pid_t tid, uint64_t seq, uint64_t start, uint64_t end)
{
	struct event_step step = { .header = { .tgid = PID, .tid = (uint32_t)tid }, .seq = seq,
				   .start_ns = start, .end_ns = end,
				   .busy_ns = 900 * MS + end };

	step_log_add(log, &step);
}

static void test_nothing_known_is_other(void **state)
{
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	assert_int_equal(timeline_split(&timeline, 100, 350, &parts), 0);
	assert_int_equal(parts.ns[PART_other_wait], 250);
	assert_int_equal(sum_of(parts.ns), 250);
	assert_int_equal(timeline_split(&timeline, 350, 100, &parts), 0);
	assert_int_equal(sum_of(parts.ns), 0);
}

static void test_first_that_is_true(void **state)
{
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	timeline_add(&timeline, PART_dependency_wait, NULL, 10, 60);
	timeline_add(&timeline, PART_timer_wait, NULL, 0, 100);
	timeline_add(&timeline, PART_thread_run, NULL, 50, 70);
	timeline_add(&timeline, PART_dependency_wait, NULL, 20, 40);	/* two at once count once */
	timeline_add(&timeline, PART_client_wait, NULL, 90, 200);	/* beyond the end */
	assert_int_equal(timeline_split(&timeline, 0, 120, &parts), 0);
	assert_int_equal(parts.ns[PART_dependency_wait], 40);
	assert_int_equal(parts.ns[PART_thread_run], 20);
	assert_int_equal(parts.ns[PART_timer_wait], 40);
	assert_int_equal(parts.ns[PART_client_wait], 20);
	assert_int_equal(sum_of(parts.ns), 120);
	timeline_free(&timeline);
}

static void test_own_time_is_split_as_measured(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	own(&timeline, &log, 100 * MS, 200 * MS, 100 * MS, 1, 75 * MS);
	assert_int_equal(timeline_split(&timeline, 50 * MS, 250 * MS, &parts), 0);
	assert_int_equal(parts.ns[PART_loop_blocked], 75 * MS);
	assert_int_equal(parts.ns[PART_loop_cpu], 25 * MS);
	assert_int_equal(parts.ns[PART_other_wait], 100 * MS);
	timeline_free(&timeline);
}

static void test_unread_bytes_wait_for_others(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	/* arrived at 100 when the clock said 1000; the loop was busy for 60 ms more */
	timeline_ready(&timeline, 100 * MS, 1000 * MS, 0, true);
	own(&timeline, &log, 180 * MS, 190 * MS, 1070 * MS, 5, 0);
	assert_int_equal(timeline_split(&timeline, 100 * MS, 190 * MS, &parts), 0);
	assert_int_equal(parts.behind_count, 1);
	assert_int_equal(parts.ns[PART_behind_others], 60 * MS);
	assert_int_equal(parts.ns[PART_cpu_wait], 20 * MS); /* idle, but not running */
	assert_int_equal(parts.ns[PART_loop_cpu], 10 * MS);
	assert_int_equal(parts.behind[0].start_ns, 100 * MS);
	assert_int_equal(parts.behind[0].end_ns, 160 * MS);
	timeline_free(&timeline);
}

static void test_clock_unknown_unread_waits_whole(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	timeline_ready(&timeline, 100 * MS, 0, 0, true);
	own(&timeline, &log, 180 * MS, 190 * MS, 1070 * MS, 5, 0);
	timeline_split(&timeline, 100 * MS, 190 * MS, &parts);
	assert_int_equal(parts.ns[PART_behind_others], 80 * MS);
	timeline_free(&timeline);
}

/* A task that ran silently and sleeps was not behind others all that time. */
static void test_ready_long_ago_is_no_wait(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	timeline_ready(&timeline, 100 * MS, 1000 * MS, 7, false);
	own(&timeline, &log, 300 * MS, 301 * MS, 1101 * MS, 40, 0);
	timeline_split(&timeline, 100 * MS, 301 * MS, &parts);
	assert_int_equal(parts.ns[PART_behind_others], 0);
	assert_int_equal(parts.ns[PART_other_wait], 200 * MS);
	timeline_free(&timeline);
}

/* The same on a loop that is busy with others all the time. */
static void test_ready_long_ago_on_a_busy_loop(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	timeline_ready(&timeline, 100 * MS, 1000 * MS, 7, false);
	own(&timeline, &log, 300 * MS, 301 * MS, 1201 * MS, 40, 0);
	timeline_split(&timeline, 100 * MS, 301 * MS, &parts);
	assert_int_equal(parts.ns[PART_behind_others], 0);
	timeline_free(&timeline);
}

/* A thread was done while the loop was held: what was ready before had run by then. */
static void test_ready_again_after_a_thread(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	timeline_ready(&timeline, 100 * MS, 1000 * MS, 7, false);
	long_step(&log, TID, 9, 120 * MS, 200 * MS);
	assert_int_equal(timeline_left(&timeline, PID, TID, 110 * MS, &log), 0);
	timeline_add(&timeline, PART_thread_run, NULL, 110 * MS, 150 * MS);
	timeline_ready(&timeline, 150 * MS, 1050 * MS, 9, false);
	own(&timeline, &log, 203 * MS, 204 * MS, 1104 * MS, 12, 0);
	timeline_split(&timeline, 100 * MS, 204 * MS, &parts);
	assert_int_equal(parts.ns[PART_thread_run], 40 * MS);
	assert_int_equal(parts.ns[PART_behind_others], 50 * MS);
	timeline_free(&timeline);
}

/* But as long as the long step that it became ready in, it was. */
static void test_ready_in_a_long_step(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	long_step(&log, TID, 7, 90 * MS, 150 * MS);
	long_step(&log, TID + 1, 8, 150 * MS, 290 * MS);	/* of another loop */
	long_step(&log, TID, 30, 160 * MS, 200 * MS);	/* it had run by then */
	timeline_ready(&timeline, 100 * MS, 1000 * MS, 7, false);
	own(&timeline, &log, 300 * MS, 301 * MS, 1101 * MS, 40, 0);
	timeline_split(&timeline, 100 * MS, 301 * MS, &parts);
	assert_int_equal(parts.ns[PART_behind_others], 50 * MS);
	timeline_free(&timeline);
}

/* A loop that was idle had run what was ready: the next long step held something else. */
static void test_ready_and_idle_after(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	timeline_ready(&timeline, 100 * MS, 1030 * MS, 7, false);
	long_step(&log, TID, 8, 130 * MS, 150 * MS);	/* at 130 ms its clock has that, too */
	own(&timeline, &log, 200 * MS, 201 * MS, 1052 * MS, 12, 0);
	timeline_split(&timeline, 100 * MS, 201 * MS, &parts);
	assert_int_equal(parts.ns[PART_behind_others], 0);
	timeline_free(&timeline);
	/* the same of a reply that came in a long step: of that one it is not known which */
	timeline = (struct timeline){ 0 };
	log.count = 0;
	long_step(&log, TID, 100007, 90 * MS, 120 * MS);
	timeline_ready(&timeline, 100 * MS, 1010 * MS, 0, false);
	long_step(&log, TID, 100008, 150 * MS, 180 * MS);
	log.items[1].busy_ns = 1030 * MS;	/* what it had at 120 ms */
	own(&timeline, &log, 200 * MS, 201 * MS, 1052 * MS, 12, 0);
	timeline_split(&timeline, 100 * MS, 201 * MS, &parts);
	assert_int_equal(parts.ns[PART_behind_others], 20 * MS);
	timeline_free(&timeline);
}

static void test_ready_in_the_next_steps(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	timeline_ready(&timeline, 100 * MS, 1000 * MS, 7, false);
	own(&timeline, &log, 130 * MS, 131 * MS, 1031 * MS, 8, 0);
	timeline_split(&timeline, 100 * MS, 131 * MS, &parts);
	assert_int_equal(parts.ns[PART_behind_others], 30 * MS);
	timeline_free(&timeline);
}

/* Somebody else had the loop from start to end. */
static void turn(struct step_log *log, uint64_t start, uint64_t end)
{
	struct own_time time = { .start_ns = start };
	struct loop_moment moment = { PID, TID, end, 0, &time };

	step_log_turn(log, &moment);
}

/* Steps without a sign of anybody, on a loop that is never idle: it went on. */
static void test_goes_on_in_silent_steps(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	own(&timeline, &log, 100 * MS, 101 * MS, 1001 * MS, 7, 0);
	own(&timeline, &log, 110 * MS, 111 * MS, 1011 * MS, 12, 1 * MS);
	timeline_split(&timeline, 100 * MS, 111 * MS, &parts);
	assert_int_equal(parts.ns[PART_loop_cpu], 10 * MS); /* what is not seen is not blocked */
	assert_int_equal(parts.ns[PART_loop_blocked], 1 * MS);
	timeline_free(&timeline);
}

/* What others did there it was behind, but is no victim of: it may have waited for more. */
static void test_silent_steps_behind_others(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	own(&timeline, &log, 100 * MS, 101 * MS, 1001 * MS, 7, 0);
	turn(&log, 103 * MS, 104 * MS);
	turn(&log, 106 * MS, 109 * MS);
	own(&timeline, &log, 110 * MS, 111 * MS, 1011 * MS, 12, 0);
	/* a long step before it would have been sampled: it was not this one's */
	turn(&log, 141 * MS, 142 * MS);
	own(&timeline, &log, 143 * MS, 144 * MS, 1044 * MS, 15, 0);
	assert_int_equal(timeline_split(&timeline, 100 * MS, 144 * MS, &parts), 0);
	assert_int_equal(parts.behind_count, 0);
	assert_int_equal(parts.ns[PART_loop_cpu], 5 * MS + 2 * MS);
	assert_int_equal(parts.ns[PART_behind_others], 6 * MS + 1 * MS);
	assert_int_equal(parts.ns[PART_other_wait], 30 * MS);
	timeline_free(&timeline);
}

/* A wait that is known is one, and so is all that an idle loop was waiting for. */
static void test_silent_steps_are_no_waits(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	own(&timeline, &log, 100 * MS, 101 * MS, 1001 * MS, 7, 0);
	timeline_add(&timeline, PART_timer_wait, NULL, 102 * MS, 108 * MS);
	own(&timeline, &log, 110 * MS, 111 * MS, 1011 * MS, 12, 0);
	own(&timeline, &log, 120 * MS, 121 * MS, 1020 * MS, 15, 0);	/* idle for 1 ms */
	turn(&log, 121 * MS, 122 * MS);
	turn(&log, 220 * MS, 221 * MS);
	own(&timeline, &log, 223 * MS, 224 * MS, 1123 * MS, 20, 0);	/* too long */
	timeline_split(&timeline, 100 * MS, 224 * MS, &parts);
	assert_int_equal(parts.ns[PART_timer_wait], 6 * MS);
	assert_int_equal(parts.ns[PART_loop_cpu], 4 * MS + 3 * MS);
	assert_int_equal(parts.ns[PART_other_wait], 9 * MS + 102 * MS);
	timeline_free(&timeline);
}

/* What it does in a thread is said by the thread. */
static void test_left_for_a_thread_is_not_silent(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	own(&timeline, &log, 100 * MS, 101 * MS, 1001 * MS, 7, 0);
	assert_int_equal(timeline_left(&timeline, PID, TID, 102 * MS, &log), 0);
	own(&timeline, &log, 110 * MS, 111 * MS, 1011 * MS, 12, 0);
	timeline_split(&timeline, 100 * MS, 111 * MS, &parts);
	assert_int_equal(parts.ns[PART_loop_cpu], 2 * MS);
	assert_int_equal(parts.ns[PART_other_wait], 9 * MS);
	timeline_free(&timeline);
}

static void test_merge(void **state)
{
	struct step_log log = { 0 };
	struct timeline one = { 0 }, other = { 0 };
	struct timeline_parts parts;

	(void)state;
	own(&one, &log, 1 * MS, 11 * MS, 10 * MS, 1, 0);
	own(&other, &log, 20 * MS, 40 * MS, 40 * MS, 2, 20 * MS);
	one.lost = 1;
	other.lost = 2;
	assert_int_equal(timeline_merge(&one, &other), 0);
	assert_int_equal(one.lost, 3);
	timeline_split(&one, 1 * MS, 40 * MS, &parts);
	assert_int_equal(parts.ns[PART_loop_cpu], 10 * MS);
	assert_int_equal(parts.ns[PART_loop_blocked], 20 * MS);
	timeline_free(&one);
	timeline_free(&other);
}

static void test_spans_are_bounded(void **state)
{
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	for (uint64_t i = 0; i < TIMELINE_MAX_SPANS + 10; i++)
		assert_int_equal(timeline_add(&timeline, i % 2 ? PART_timer_wait : PART_client_wait,
					      NULL, i * 10, i * 10 + 5),
				 0);
	assert_int_equal(timeline.spans.count, TIMELINE_MAX_SPANS);
	assert_int_equal(timeline.lost, 10);
	timeline_split(&timeline, 0, 100000, &parts);
	assert_int_equal(sum_of(parts.ns), 100000);
	timeline_free(&timeline);
}

static void test_behind_spans_are_bounded(void **state)
{
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	for (uint64_t i = 0; i < TIMELINE_BEHIND + 1; i++)
		timeline_add(&timeline, PART_behind_others, NULL, i * 10, i * 10 + 5);
	assert_int_equal(timeline_split(&timeline, 0, 1000, &parts), 0);
	assert_int_equal(parts.behind_count, TIMELINE_BEHIND);
	assert_int_equal(parts.ns[PART_behind_others], 5 * (TIMELINE_BEHIND + 1));
	timeline_free(&timeline);
}

/* ---- where it waited --------------------------------------------------------------- */

static const struct stack one_place, another;

static uint64_t waited(const struct timeline_parts *parts, enum time_part part,
		       const struct stack *stack)
{
	for (size_t i = 0; i < parts->await_count; i++)
		if (parts->awaits[i].part == part && parts->awaits[i].stack == stack)
			return parts->awaits[i].ns;
	return 0;
}

static void assert_awaits_add_up(const struct timeline_parts *parts)
{
	uint64_t sums[PART_COUNT] = { 0 };

	for (size_t i = 0; i < parts->await_count; i++)
		sums[parts->awaits[i].part] += parts->awaits[i].ns;
	for (unsigned part = 0; part < PART_COUNT; part++)
		assert_int_equal(sums[part], time_part_waits(part) ? parts->ns[part] : 0);
}

static void test_where_it_waited(void **state)
{
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	timeline_add(&timeline, PART_loop_cpu, NULL, 0, 10);
	timeline_add(&timeline, PART_timer_wait, &one_place, 10, 50);
	timeline_add(&timeline, PART_behind_others, NULL, 50, 60);
	timeline_add(&timeline, PART_timer_wait, &one_place, 60, 70);
	/* the same thing in another place, and at once in both: in the one that came last */
	timeline_add(&timeline, PART_timer_wait, &another, 65, 90);
	timeline_add(&timeline, PART_timer_wait, NULL, 80, 100);
	/* what comes first is where it waits for that */
	timeline_add(&timeline, PART_dependency_wait, &another, 30, 40);
	assert_int_equal(timeline_split(&timeline, 0, 120, &parts), 0);
	assert_int_equal(waited(&parts, PART_timer_wait, &one_place), 20 + 10 + 5);
	assert_int_equal(waited(&parts, PART_timer_wait, &another), 25);
	assert_int_equal(waited(&parts, PART_timer_wait, NULL), 10);
	assert_int_equal(waited(&parts, PART_dependency_wait, &another), 10);
	assert_int_equal(waited(&parts, PART_other_wait, NULL), 20);
	assert_int_equal(parts.await_count, 5);
	/* where its thread is not known it is where its task waits for that */
	timeline_add(&timeline, PART_thread_queue, &one_place, 100, 120);
	timeline_add(&timeline, PART_thread_run, NULL, 105, 115);
	assert_int_equal(timeline_split(&timeline, 0, 120, &parts), 0);
	assert_int_equal(waited(&parts, PART_thread_run, &one_place), 10);
	assert_int_equal(waited(&parts, PART_thread_queue, &one_place), 10);
	assert_awaits_add_up(&parts);
	timeline_free(&timeline);
}

/* That it waits for something unknown is all that is known only where nothing else is. */
static void test_where_it_waited_for_something_unknown(void **state)
{
	struct step_log log = { 0 };
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	own(&timeline, &log, 100 * MS, 101 * MS, 500 * MS, 1, 0);
	own(&timeline, &log, 111 * MS, 112 * MS, 511 * MS, 1, 0);
	timeline_add(&timeline, PART_other_wait, &one_place, 90 * MS, 150 * MS);
	timeline_add(&timeline, PART_timer_wait, NULL, 140 * MS, 150 * MS);
	assert_int_equal(timeline_split(&timeline, 80 * MS, 150 * MS, &parts), 0);
	/* it ran on, silently */
	assert_int_equal(parts.ns[PART_loop_cpu], 12 * MS);
	assert_int_equal(parts.ns[PART_timer_wait], 10 * MS);
	assert_int_equal(waited(&parts, PART_other_wait, &one_place), (10 + 28) * MS);
	assert_int_equal(waited(&parts, PART_other_wait, NULL), 10 * MS);
	assert_awaits_add_up(&parts);
	timeline_free(&timeline);
}

static void test_places_are_bounded(void **state)
{
	static const struct stack many[TIMELINE_AWAITS + 10];
	struct timeline timeline = { 0 };
	struct timeline_parts parts;

	(void)state;
	for (uint64_t i = 0; i < TIMELINE_AWAITS + 10; i++)
		timeline_add(&timeline, PART_timer_wait, &many[i], i * 10, i * 10 + 10);
	timeline_add(&timeline, PART_client_wait, &one_place, 0, 10000);
	assert_int_equal(timeline_split(&timeline, 0, 20000, &parts), 0);
	assert_int_equal(waited(&parts, PART_timer_wait, NULL), 10 * 10);
	assert_int_equal(waited(&parts, PART_timer_wait, &many[TIMELINE_AWAITS - 1]), 10);
	assert_int_equal(waited(&parts, PART_timer_wait, &many[TIMELINE_AWAITS]), 0);
	assert_awaits_add_up(&parts);
	timeline_free(&timeline);
	/* many waits for something unknown leave room for those that are known */
	for (uint64_t i = 0; i < TIMELINE_MAX_SPANS; i++)
		timeline_add(&timeline, PART_other_wait, &one_place, i * 10, i * 10 + 5);
	assert_int_equal(timeline.spans.count, TIMELINE_MAX_SPANS / 2);
	assert_int_equal(timeline.lost, 0);
	timeline_free(&timeline);
}

/* Of two tasks the part that comes first counts, whether it is known where or not. */
static void test_first_part_without_a_place(void **state)
{
	struct code_info timer = { .file = "/lib/asyncio/tasks.py", .qualname = "sleep",
				   .function = "sleep", .origin = CODE_STDLIB };
	struct code_info other = { .file = "/srv/app.py", .qualname = "f", .function = "f",
				   .origin = CODE_APPLICATION };
	const struct frame sleeps = { .code = &timer, .line = 1 };
	const struct frame waits = { .code = &other, .line = 2 };
	const struct task_info task = { .state = TASK_PENDING, .end = TASK_END_FUTURE };
	struct request_wait wait = { .part = PART_other_wait };
	struct stack_set *set = stack_set_new();
	uint64_t code = 1;

	(void)state;
	wait_add_task(&wait, NULL, &task, NULL, &sleeps, &code, 1);
	assert_int_equal(wait.part, PART_timer_wait);
	wait_add_task(&wait, set, &task, NULL, &waits, &code, 1);
	assert_int_equal(wait.part, PART_timer_wait);
	assert_null(wait.stack);
	wait_add_task(&wait, set, &task, NULL, &sleeps, &code, 1);
	assert_int_equal(stack_site(wait.stack)->line, 1);
	stack_set_free(set);
}

/* ---- stacks -------------------------------------------------------------------------- */

#define DEEP (STACK_FRAMES + 5)

static void test_stacks_are_interned(void **state)
{
	struct code_info leaf = { .file = "/srv/app.py", .qualname = "f", .function = "f" };
	struct code_info root = { .file = "/srv/main.py", .qualname = "g", .function = "g" };
	struct code_info loop = { .file = "/usr/lib/python3.12/asyncio/events.py",
				  .qualname = "Handle._run", .function = "_run" };
	struct frame frames[DEEP] = { { .code = &leaf, .line = 3 }, { .code = &root, .line = 4 },
				      { .code = &loop, .line = 5 }, { .code = &root, .line = 6 } };
	struct stack_set *set = stack_set_new();
	const struct stack *first, *place;
	struct place at = { "/srv/app.py", "f", "f", 3 };

	(void)state;
	assert_non_null(set);
	first = stack_of_frames(set, frames, 4);
	assert_int_equal(first->count, 2);	/* nothing of what runs the loop */
	assert_string_equal(first->frames[0].qualname, "f");
	assert_int_equal(first->frames[1].line, 4);
	assert_false(first->truncated);
	assert_ptr_equal(stack_of_frames(set, frames, 2), first);
	frames[0].line = 30;
	assert_ptr_not_equal(stack_of_frames(set, frames, 2), first);
	place = stack_of_place(set, &at);
	assert_int_equal(place->count, 1);
	assert_ptr_equal(stack_of_place(set, &at), place);
	assert_null(stack_of_place(set, &(struct place){ 0 }));
	assert_null(stack_of_frames(set, &frames[2], 1));
	assert_null(stack_of_frames(NULL, frames, 2));
	for (size_t i = 0; i < DEEP; i++)
		frames[i] = (struct frame){ .code = &leaf, .line = (uint32_t)i };
	assert_int_equal(stack_of_frames(set, frames, DEEP)->count, STACK_FRAMES);
	assert_true(stack_of_frames(set, frames, DEEP)->truncated);
	assert_int_equal(stack_set_dropped(set), 0);
	for (uint32_t i = 0; i < STACKS_MAX; i++) {
		at.line = 100 + i;
		stack_of_place(set, &at);
	}
	assert_int_equal(stack_set_dropped(set), 4);
	assert_null(stack_of_place(set, &at));
	at.line = 3;
	assert_ptr_equal(stack_of_place(set, &at), place);
	stack_set_free(set);
	stack_set_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_known_is_other),
		cmocka_unit_test(test_first_that_is_true),
		cmocka_unit_test(test_own_time_is_split_as_measured),
		cmocka_unit_test(test_unread_bytes_wait_for_others),
		cmocka_unit_test(test_clock_unknown_unread_waits_whole),
		cmocka_unit_test(test_ready_long_ago_is_no_wait),
		cmocka_unit_test(test_ready_long_ago_on_a_busy_loop),
		cmocka_unit_test(test_ready_again_after_a_thread),
		cmocka_unit_test(test_ready_in_a_long_step),
		cmocka_unit_test(test_ready_and_idle_after),
		cmocka_unit_test(test_ready_in_the_next_steps),
		cmocka_unit_test(test_goes_on_in_silent_steps),
		cmocka_unit_test(test_silent_steps_behind_others),
		cmocka_unit_test(test_silent_steps_are_no_waits),
		cmocka_unit_test(test_left_for_a_thread_is_not_silent),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_spans_are_bounded),
		cmocka_unit_test(test_behind_spans_are_bounded),
		cmocka_unit_test(test_where_it_waited),
		cmocka_unit_test(test_where_it_waited_for_something_unknown),
		cmocka_unit_test(test_places_are_bounded),
		cmocka_unit_test(test_first_part_without_a_place),
		cmocka_unit_test(test_stacks_are_interned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
