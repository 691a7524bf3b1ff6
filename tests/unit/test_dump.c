// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/dump.h"

#define NR_READ 0
#define NR_FUTEX 202
#define NR_EPOLL_WAIT 232
#define NR_EPOLL_PWAIT 281
#define GIL 0x10000
#define GIL_COND 32
#define GIL_SIZE 208

static const struct process_config config = {
	.gil = GIL,
	.layout = { .gil_cond = GIL_COND, .gil_size = GIL_SIZE },
};
static const struct event_loop loop = { .tid = 1, .epoll_fd = 7 };
static const struct event_loop new_loop = { .tid = 1, .epoll_fd = -1 };

static const char *state_of(char state, int number, uint64_t arg, const struct event_loop *of,
			    bool task, bool ran, bool work)
{
	struct thread_state at = { .state = state, .number = number, .args = { arg } };
	struct dump_facts facts = { .at = &at, .config = &config, .loop = of, .ran = ran,
				    .has_task = task, .waits_for_work = work };

	return dump_state(&facts);
}

static void test_on_a_cpu_or_not(void **state)
{
	(void)state;
	assert_string_equal(state_of('R', -1, 0, NULL, false, true, false), "running");
	assert_string_equal(state_of('R', -1, 0, &loop, false, false, true), "runnable");
}

static void test_waits_for_the_gil(void **state)
{
	(void)state;
	assert_string_equal(state_of('S', NR_FUTEX, GIL + GIL_COND, NULL, false, false, false),
			    "gil_wait");
	assert_string_equal(state_of('S', NR_FUTEX, GIL + GIL_SIZE - 1, &loop, true, false, true),
			    "gil_wait");
	assert_string_equal(state_of('S', NR_FUTEX, GIL + GIL_COND - 1, NULL, false, false, false),
			    "blocked");
	assert_string_equal(state_of('S', NR_FUTEX, GIL + GIL_SIZE, NULL, false, false, false),
			    "blocked");
	assert_string_equal(state_of('S', NR_READ, GIL + GIL_COND, NULL, false, false, false),
			    "blocked");
}

static void test_idle_in_its_own_selector(void **state)
{
	(void)state;
	assert_string_equal(state_of('S', NR_EPOLL_WAIT, 7, &loop, false, false, false), "idle");
	assert_string_equal(state_of('S', NR_EPOLL_PWAIT, 7, &loop, false, false, false), "idle");
	assert_string_equal(state_of('S', NR_EPOLL_WAIT, 9, &new_loop, false, false, false),
			    "idle");
	assert_string_equal(state_of('S', NR_EPOLL_WAIT, 9, &loop, false, false, false), "blocked");
	assert_string_equal(state_of('S', NR_EPOLL_WAIT, 7, &loop, true, false, false), "blocked");
	assert_string_equal(state_of('S', NR_EPOLL_WAIT, 7, NULL, false, false, false), "blocked");
}

static void test_blocked(void **state)
{
	(void)state;
	assert_string_equal(state_of('S', NR_READ, 0, &loop, true, false, false), "blocked");
	assert_string_equal(state_of('D', -1, 0, &loop, true, false, false), "blocked");
	assert_string_equal(state_of('T', NR_EPOLL_WAIT, 7, &loop, false, false, false),
			    "blocked");
	assert_string_equal(state_of('S', NR_FUTEX, 0, NULL, false, false, true), "idle");
}

static void test_worker_in_front_of_its_queue(void **state)
{
	struct code_info wait = { .file = "/lib/threading.py", .function = "wait",
				  .origin = CODE_STDLIB };
	struct code_info get = { .file = "/lib/queue.py", .function = "get",
				 .origin = CODE_STDLIB };
	struct code_info own = { .file = "/app/queue.py", .function = "get",
				 .origin = CODE_APPLICATION };
	struct code_info pool = { .file = "/lib/concurrent/futures/thread.py",
				  .function = "_worker", .origin = CODE_STDLIB };
	struct code_info item = { .file = "/lib/concurrent/futures/thread.py",
				  .function = "run", .origin = CODE_STDLIB };
	struct code_info anyio = { .file = "/site/anyio/_backends/_asyncio.py",
				   .function = "run", .origin = CODE_LIBRARY };
	struct frame frames[4] = { { .code = &wait }, { .code = &get }, { .code = &anyio },
				   { .code = &wait } };

	(void)state;
	assert_true(dump_waits_for_work(frames, 4));
	assert_true(dump_waits_for_work(frames + 2, 2));
	assert_false(dump_waits_for_work(frames, 2));
	assert_false(dump_waits_for_work(frames, 0));
	frames[2].code = &pool;
	assert_true(dump_waits_for_work(frames, 3));
	frames[1].code = &item;
	assert_false(dump_waits_for_work(frames + 1, 2));
	frames[1].code = &own;
	assert_false(dump_waits_for_work(frames, 3));
}

static void test_same_stack(void **state)
{
	static struct stack_record a, b;

	(void)state;
	a.count = 3;
	a.end = STACK_COMPLETE;
	for (unsigned i = 0; i < 3; i++)
		a.frames[i] = (struct frame_record){ .code = 0x1000 + i, .check = 5, .where = i };
	b = a;
	assert_true(dump_same_stack(&a, &b));
	b.frames[0].where++;
	assert_true(dump_same_stack(&a, &b));
	b.frames[1].where++;
	assert_false(dump_same_stack(&a, &b));
	b = a;
	b.frames[2].code++;
	assert_false(dump_same_stack(&a, &b));
	b = a;
	b.frames[2].check++;
	assert_false(dump_same_stack(&a, &b));
	b = a;
	b.count = 2;
	assert_false(dump_same_stack(&a, &b));
	b = a;
	b.end = STACK_FAULT;
	assert_false(dump_same_stack(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_on_a_cpu_or_not),
		cmocka_unit_test(test_waits_for_the_gil),
		cmocka_unit_test(test_idle_in_its_own_selector),
		cmocka_unit_test(test_blocked),
		cmocka_unit_test(test_worker_in_front_of_its_queue),
		cmocka_unit_test(test_same_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
