// SPDX-License-Identifier: Apache-2.0
/* Calls that hold a loop thread and are nobody's fault: attribute.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "attribute/attribute.h"
#include "unit/code_image.h"

#define PID 7
#define STDLIB "/usr/lib/python3.12"

/* Functions that stacks are made of. */
enum { WAIT, START, RUN_FOREVER, RUN_UNTIL, RUN_LOOP, WORK_ITEM, SERVE, HANDLER, FUNCTIONS };

static const struct {
	const char *file, *qualname;
} functions[FUNCTIONS] = {
	[WAIT] = { STDLIB "/threading.py", "Event.wait" },
	[START] = { STDLIB "/threading.py", "Thread.start" },
	[RUN_FOREVER] = { STDLIB "/asyncio/base_events.py", "BaseEventLoop.run_forever" },
	[RUN_UNTIL] = { STDLIB "/asyncio/base_events.py", "BaseEventLoop.run_until_complete" },
	[RUN_LOOP] = { "/srv/app/loops.py", "run_loop" },
	[WORK_ITEM] = { STDLIB "/concurrent/futures/thread.py", "_WorkItem.run" },
	[SERVE] = { "/srv/lib/site-packages/uvicorn/server.py", "Server.serve" },
	[HANDLER] = { "/srv/app/main.py", "handler" },
};

/* Two instructions on the first line. */
static const uint8_t one_line[] = { 0x80 | 10 << 3 | 1, 0, 0 };

struct fixture {
	struct image image;
	struct mem *mem;
	struct thread_names threads;
	struct process_view view;
	uint64_t codes[FUNCTIONS];
	struct frame frames[LS_MAX_FRAMES];
	struct event_call call;
	struct activity activity;
};

static int setup(void **state)
{
	static const struct code_options options = { .stdlib_path = STDLIB };
	struct fixture *f = calloc(1, sizeof(*f));
	uint64_t table;

	assert_non_null(f);
	image_init(&f->image, 0x030c01f0);
	f->mem = mem_open_image(&f->image.range, 1);
	assert_non_null(f->mem);
	f->image.py.mem = f->mem;
	table = image_bytes(&f->image, one_line, sizeof(one_line));
	for (int i = 0; i < FUNCTIONS; i++) {
		uint64_t file = image_text(&f->image, functions[i].file);
		uint64_t qualname = image_text(&f->image, functions[i].qualname);

		f->codes[i] = image_take(&f->image, 256);
		image_code(&f->image, f->codes[i], file, qualname, qualname, table, 1);
	}
	f->view.codes = code_cache_new(&f->image.py, &options);
	assert_non_null(f->view.codes);
	f->view.threads = &f->threads;
	f->threads.items[PID].tid = PID;
	f->threads.items[PID].until_ns = UINT64_MAX;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	code_cache_free(f->view.codes);
	mem_free(f->mem);
	free(f);
	return 0;
}

/* Is a call below these functions, innermost first, nobody's? */
static bool is_own_work(struct fixture *f, uint32_t number, uint64_t flags, const int *stack,
			uint16_t depth)
{
	f->call = (struct event_call){
		.header = { .kind = EVENT_CALL, .tgid = PID, .tid = PID },
		.number = number, .calls = 1, .duration_ns = 30000000,
		.args = { [3] = flags }, .request = { .task = 0x1000 },
	};
	f->call.stack.count = depth;
	f->call.stack.end = STACK_COMPLETE;
	for (uint16_t i = 0; i < depth; i++)
		f->call.stack.frames[i] = (struct frame_record){
			.code = f->codes[stack[i]],
			.check = image_check(&f->image, f->codes[stack[i]]),
			.where = 1,
		};
	assert_int_equal(attribute_event(&f->view, &f->call.header, f->frames, &f->activity), 0);
	assert_int_equal(f->activity.frame_count, depth);
	return f->activity.own_work;
}

#define OWN_WORK(f, number, flags, ...) \
	is_own_work(f, number, flags, (const int[]){ __VA_ARGS__ }, \
		    sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))

/* The new thread had no CPU yet, or not the GIL. */
static void start_of_a_thread(void **state)
{
	struct fixture *f = *state;

	assert_true(OWN_WORK(f, SYS_futex, 0, WAIT, START, HANDLER));
	assert_false(OWN_WORK(f, SYS_futex, 0, WAIT, HANDLER));
	assert_string_equal(f->activity.culprit.qualname, "handler");
	assert_false(OWN_WORK(f, SYS_futex, 0, WAIT, HANDLER, START));
}

/* What they wait for is a lock that others may hold, unless they read a file. */
static void memory(void **state)
{
	struct fixture *f = *state;

	assert_true(OWN_WORK(f, SYS_munmap, 0, HANDLER));
	assert_true(OWN_WORK(f, SYS_brk, 0, HANDLER));
	assert_true(OWN_WORK(f, SYS_mmap, MAP_PRIVATE, HANDLER));
	assert_false(OWN_WORK(f, SYS_mmap, MAP_PRIVATE | MAP_POPULATE, HANDLER));
	assert_false(OWN_WORK(f, SYS_fsync, 0, HANDLER));
}

/* A loop that a worker thread runs for one task holds up nobody. */
static void loop_of_a_worker(void **state)
{
	struct fixture *f = *state;

	assert_true(OWN_WORK(f, SYS_fsync, 0, HANDLER, RUN_FOREVER, RUN_UNTIL, RUN_LOOP,
			     WORK_ITEM));
	/* that goes on for whoever gives it something to do */
	assert_false(OWN_WORK(f, SYS_fsync, 0, HANDLER, RUN_FOREVER, RUN_LOOP, WORK_ITEM));
	/* a server in a thread */
	assert_false(OWN_WORK(f, SYS_fsync, 0, HANDLER, SERVE, RUN_FOREVER, RUN_UNTIL, RUN_LOOP,
			      WORK_ITEM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(start_of_a_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(memory, setup, teardown),
		cmocka_unit_test_setup_teardown(loop_of_a_worker, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
