// SPDX-License-Identifier: Apache-2.0
/*
 * The probes over hand-made memory: this process is its own target, its only
 * thread the loop.  Each counter rises by as much as is provoked, and the
 * kernel finds the same stacks and requests as the walk compiled for user space.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "unit/walk_image.h"

#include "attach/attach.h"
#include "base/units.h"
#include "collect/collect.h"

#define TIMES 7		/* how often each fault is provoked */
#define SLOW_NS (2 * NS_PER_MS)
#define CALL_NS (4 * NS_PER_MS)

static struct {
	struct attachment *attachment;
	struct collector *collector;
	uint64_t counters[COUNTER_COUNT];	/* before what is measured */
	int process, slot, epoll_fd;
	unsigned calls, gil_waits, walked, seen;
	unsigned stood_for;		/* calls, by all of their records */
	uint64_t in_calls_ns;
	struct event_call call;		/* the last one */
} probes;

static void on_event(void *context, const struct event_header *event)
{
	(void)context;
	switch (event->kind) {
	case EVENT_CALL:
		probes.calls++;
		probes.walked++;
		memset(&probes.call, 0, sizeof(probes.call));
		memcpy(&probes.call, event, event->size);
		probes.stood_for += probes.call.calls;
		probes.in_calls_ns += probes.call.duration_ns;
		break;
	case EVENT_GIL_WAIT:
		probes.gil_waits++;
		break;
	case EVENT_LOOP_SEEN:
		probes.seen++;
		break;
	case EVENT_SAMPLE:
	case EVENT_HOLDER:
	case EVENT_PAGE_FAULT:
		probes.walked++;
		break;
	}
}

/* The wait of the loop: what comes after it is a step. */
static void next_step(void)
{
	struct epoll_event event;

	assert_int_equal(epoll_wait(probes.epoll_fd, &event, 1, 0), 0);
}

static void blocking_call(void)
{
	const struct timespec length = { .tv_nsec = CALL_NS };

	nanosleep(&length, NULL);
}

/* A wait on the condition of the GIL, which nobody signals. */
static void wait_for_gil(void)
{
	const struct timespec length = { .tv_nsec = CALL_NS };

	syscall(SYS_futex, config.gil + layout.gil_cond, FUTEX_WAIT_PRIVATE, 0, &length, NULL, 0);
}

static void begin(void)
{
	collector_drain(probes.collector);
	probes.calls = probes.gil_waits = probes.walked = probes.seen = 0;
	probes.stood_for = 0;
	probes.in_calls_ns = 0;
	assert_int_equal(attach_counters(probes.attachment, probes.counters), 0);
}

/* Takes what the ring has: from now on probes.calls and so on are right. */
static void settle(void)
{
	next_step();
	collector_drain(probes.collector);
}

static uint64_t risen(enum counter which)
{
	uint64_t now[COUNTER_COUNT];

	assert_int_equal(attach_counters(probes.attachment, now), 0);
	return now[which] - probes.counters[which];
}

/* A thread of this layout that runs nothing, told to the probes. */
static void rebuild(const struct py_layout *row)
{
	walk_build(row);
	config.tgid = (uint32_t)getpid();
}

static void tell(void)
{
	struct attach_loop request = {
		.tid = getpid(), .tgid = getpid(), .process = probes.process,
		.epoll_fd = probes.epoll_fd, .tstate = tstate, .loop = loop,
	};

	assert_int_equal(attach_update_process(probes.attachment, probes.process, &config), 0);
	for (size_t i = 0; i < roles.count; i++)
		assert_int_equal(attach_set_role(probes.attachment, getpid(), roles.items[i].code,
						 &roles.items[i].role), 0);
	attach_free_loop(probes.attachment, probes.slot);
	probes.slot = attach_add_loop(probes.attachment, &request);
	assert_true(probes.slot >= 0);
	next_step();
	begin();
}

/* `which` rises by one with each slow call, and no other counter of faults does. */
static void check_counter(enum counter which)
{
	tell();
	for (unsigned i = 0; i < TIMES; i++)
		blocking_call();
	settle();
	assert_int_equal(risen(COUNTER_stack_walks), probes.walked);
	assert_int_equal(probes.calls, TIMES);
#define X(name, text) \
	if (COUNTER_##name != COUNTER_stack_walks) \
		assert_int_equal(risen(COUNTER_##name), \
				 COUNTER_##name == which ? probes.walked : 0);
	NOTE_COUNTERS(X)
#undef X
}

static void each_row(void (*check)(void))
{
	for (unsigned i = 0; i < py_layout_count; i++) {
		rebuild(&py_layouts[i]);
		check();
	}
}

static uint64_t deep_stack(unsigned frames)
{
	uint64_t code = code_at_line(1), frame = 0;

	while (frames--)
		frame = new_frame(code, frame);
	return frame;
}

static void check_stacks(void)
{
	run_frame(deep_stack(LS_MAX_FRAMES));
	check_counter(COUNTER_stack_walks);
	run_frame(deep_stack(LS_MAX_FRAMES + 1));
	check_counter(COUNTER_stack_truncated);
	run_frame(new_frame(code_at_line(1), UNMAPPED));
	check_counter(COUNTER_stack_fault);
	assert_int_equal(probes.call.stack.count, 1);
}

static void test_stack_counters(void **state)
{
	(void)state;
	each_row(check_stacks);
}

static void check_requests(void)
{
	uint64_t frame = new_frame(code_of_local(LS_END_SCOPE, 0, 2), 0);
	uint64_t task = new_task(code_at_line(3), string("Task-1"));

	run_frame(frame);
	put_local(frame, 0, UNMAPPED);
	check_counter(COUNTER_request_fault);
	put_local(frame, 0, dict(UNMAPPED, 0));
	check_counter(COUNTER_request_fault);
	put_local(frame, 0, http_scope("/"));
	check_counter(COUNTER_stack_walks);
	for (unsigned hop = 0; hop < 12; hop++) {
		uint64_t child = new_task(code_at_line(3), string("Task-2"));

		await_plain(child, task);
		task = child;
	}
	run_task(task);
	check_counter(COUNTER_parent_limit);
	if (config.current_task != LS_TASK_DICT)
		return;
	config.current_tasks = UNMAPPED;
	check_counter(COUNTER_task_fault);
}

static void test_request_counters(void **state)
{
	(void)state;
	each_row(check_requests);
}

/* Where the thread state is, nothing is: neither a stack nor a task. */
static void test_no_thread_state(void **state)
{
	(void)state;
	rebuild(&py_layouts[py_layout_count - 1]);
	tstate = UNMAPPED;
	tell();
	for (unsigned i = 0; i < TIMES; i++)
		blocking_call();
	settle();
	assert_int_equal(risen(COUNTER_stack_fault), probes.walked);
	assert_int_equal(risen(COUNTER_task_fault), probes.walked);
	assert_int_equal(probes.calls, TIMES);
}

/* A request far away in a chain of tasks, under a stack of some frames. */
static void check_same_walk(void)
{
	uint64_t code = code_of_local(LS_END_SCOPE, LS_ROLE_ROOT, 5);
	uint64_t root = new_task(code, string("Task-77")), child = root;

	put_local(task_code_frame(root), 0, http_scope("/items/42"));
	for (unsigned hop = 0; hop < 3; hop++) {
		uint64_t next = new_task(code_at_line(6), string("nightly refresh"));

		await_plain(next, child);
		child = next;
	}
	run_task(child);
	run_frame(deep_stack(40));
	tell();
	blocking_call();
	settle();
	assert_int_equal(probes.calls, 1);
	walk();
	assert_string_equal(result.request.path, "/items/42");
	assert_int_equal(result.stack.count, 40);
	assert_memory_equal(&probes.call.request, &result.request, sizeof(result.request));
	assert_memory_equal(&probes.call.stack, &result.stack,
			    offsetof(struct stack_record, frames) +
				    result.stack.count * sizeof(struct frame_record));
	assert_int_equal(probes.call.number, SYS_clock_nanosleep);
	assert_true(probes.call.duration_ns >= CALL_NS - CALL_NS / 50);
}

static void test_kernel_walks_as_user_space_does(void **state)
{
	(void)state;
	each_row(check_same_walk);
}

/* Calls that are not slow cost no walk. */
static void test_no_walk_on_a_healthy_loop(void **state)
{
	const struct timespec length = { .tv_nsec = SLOW_NS / 10 };

	(void)state;
	rebuild(&py_layouts[0]);
	tell();
	for (unsigned i = 0; i < 100; i++) {
		nanosleep(&length, NULL);
		next_step();
	}
	settle();
	assert_int_equal(risen(COUNTER_stack_walks), probes.walked);
	assert_int_equal(probes.calls, 0);
}

/* Within one step they add up: a record each time that there is as much as of a slow call. */
static void test_short_calls_add_up(void **state)
{
	const struct timespec length = { .tv_nsec = SLOW_NS / 10 };
	const unsigned times = 100;
	uint64_t slept = 0;

	(void)state;
	rebuild(&py_layouts[0]);
	tell();
	for (unsigned i = 0; i < times; i++) {
		uint64_t start = monotonic_ns();

		nanosleep(&length, NULL);
		slept += monotonic_ns() - start;
	}
	settle();
	assert_in_range(probes.calls, times / 10, times);
	/* the last ones are less than a slow call together */
	assert_in_range(probes.stood_for, times - 10, times);
	assert_in_range(probes.in_calls_ns, times / 10 * SLOW_NS - SLOW_NS, slept);
	assert_int_equal(risen(COUNTER_stack_walks), probes.walked);
}

static volatile int keep_spinning;

static void *spin(void *argument)
{
	(void)argument;
	while (keep_spinning)
		;
	return NULL;
}

static void test_holder_of_the_gil(void **state)
{
	const struct timespec second = { .tv_nsec = 200 * NS_PER_MS };
	pthread_t holder;
	uint64_t other;

	(void)state;
	rebuild(&py_layouts[0]);
	tell();
	for (unsigned i = 0; i < TIMES; i++) {
		wait_for_gil();
		next_step();
	}
	settle();
	assert_int_equal(risen(COUNTER_holder_unknown), TIMES);
	assert_int_equal(probes.gil_waits, TIMES);
	assert_int_equal(probes.calls, 0);
	/* One that runs is found by the clock. */
	begin();
	other = get(1024);
	keep_spinning = 1;
	assert_int_equal(pthread_create(&holder, NULL, spin, NULL), 0);
	put64(other + layout.tstate_thread_id, (uint64_t)holder);
	put64(config.gil + layout.gil_last_holder, other);
	put32(config.gil + layout.gil_locked, 1);
	syscall(SYS_futex, config.gil + layout.gil_cond, FUTEX_WAIT_PRIVATE, 0, &second, NULL, 0);
	settle();
	keep_spinning = 0;
	pthread_join(holder, NULL);
	assert_int_equal(risen(COUNTER_holder_unknown), 0);
	assert_int_equal(probes.gil_waits, 1);
	assert_true(probes.walked > 0);
}

static void *wait_elsewhere(void *argument)
{
	struct epoll_event event;

	(void)argument;
	for (unsigned i = 0; i < TIMES; i++)
		epoll_wait(probes.epoll_fd, &event, 1, 0);
	return NULL;
}

/* Of a loop that ended nothing is left for the next one. */
static void test_slots_are_used_again(void **state)
{
	const volatile struct loop_slot *slots = attach_loops(probes.attachment);
	struct attach_loop request = { .tgid = getpid(), .process = probes.process };

	(void)state;
	begin();
	for (unsigned i = 0; i < 3 * LS_MAX_LOOPS; i++) {
		int slot;

		request.tid = (1 << 23) + (int)i;
		request.seq = i + 1;
		slot = attach_add_loop(probes.attachment, &request);
		assert_true(slot >= 0 && slot != probes.slot);
		assert_int_equal(attach_add_loop(probes.attachment, &request), -EEXIST);
		assert_int_equal(slots[slot].seq, i + 1);
		assert_int_equal(slots[slot].step_start_ns, 0);
		assert_int_equal(slots[slot].steps, 0);
		attach_loop_since_before(probes.attachment, slot, -1, NULL);
		assert_true(slots[slot].step_start_ns > 0);
		attach_free_loop(probes.attachment, slot);
	}
	assert_int_equal(risen(COUNTER_loop_slots_full), 0);
}

/* A loop whose descriptor is closed is over, and its thread is looked at anew. */
static void test_loop_that_is_closed(void **state)
{
	const volatile struct loop_slot *slot;
	int epoll_fd = probes.epoll_fd;
	struct epoll_event event;

	(void)state;
	rebuild(&py_layouts[0]);
	probes.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert_true(probes.epoll_fd >= 0);
	tell();
	slot = &attach_loops(probes.attachment)[probes.slot];
	blocking_call();
	assert_int_equal(slot->state, LOOP_ACTIVE);
	assert_true(slot->step_start_ns > 0);
	assert_int_equal(close(epoll_fd + 1000), -1);
	assert_int_equal(slot->state, LOOP_ACTIVE);
	assert_int_equal(close(probes.epoll_fd), 0);
	assert_int_equal(slot->state, LOOP_ENDED);
	assert_int_equal(slot->step_start_ns, 0);
	blocking_call();
	collector_drain(probes.collector);
	assert_int_equal(probes.calls, 1);
	assert_int_equal(probes.seen, 0);
	probes.epoll_fd = epoll_fd;
	for (unsigned i = 0; i < TIMES; i++)
		assert_int_equal(epoll_wait(epoll_fd, &event, 1, 0), 0);
	collector_drain(probes.collector);
	assert_int_equal(probes.seen, 1);
	tell();
}

/* Comes last: it leaves room for nothing. */
static void test_full_tables(void **state)
{
	struct attach_loop request = { .tgid = getpid(), .process = probes.process };
	unsigned refused = 0;
	pthread_t other;

	(void)state;
	begin();
	/* Thread ids of nobody: above what the kernel gives out. */
	for (unsigned i = 0; i < LS_MAX_THREADS + LS_MAX_LOOPS; i++) {
		request.tid = (1 << 23) + (int)i;
		refused += attach_add_loop(probes.attachment, &request) == -ENOSPC;
	}
	assert_true(refused >= LS_MAX_THREADS);
	assert_int_equal(risen(COUNTER_loop_slots_full), refused);
	/* One that was refused before is not counted again. */
	request.tid = (1 << 23) + LS_MAX_LOOPS + 1;
	assert_int_equal(attach_add_loop(probes.attachment, &request), -ENOSPC);
	assert_int_equal(risen(COUNTER_loop_slots_full), refused);
	begin();
	assert_int_equal(pthread_create(&other, NULL, wait_elsewhere, NULL), 0);
	pthread_join(other, NULL);
	assert_int_equal(risen(COUNTER_thread_table_full), TIMES);
}

/* Probes that drop so many of a thousand events. */
static int probes_open(unsigned drop_per_mille)
{
	const struct attach_options options = {
		.slow_call_ns = SLOW_NS, .step_ns = SLOW_NS, .sample_after_ns = SLOW_NS,
		.rate_hz = 99, .drop_per_mille = drop_per_mille,
	};
	char message[256];

	if (attach_open(&options, &probes.attachment, message, sizeof(message))) {
		fprintf(stderr, "%s\n", message);
		return -1;
	}
	rebuild(&py_layouts[0]);
	probes.process = attach_add_process(probes.attachment, &config);
	probes.slot = -1;
	return probes.process < 0 ? -1 : collector_new(attach_ring_fd(probes.attachment), on_event,
						       NULL, &probes.collector);
}

static void probes_close(void)
{
	collector_free(probes.collector);
	attach_free(probes.attachment);
	probes.collector = NULL;
	probes.attachment = NULL;
}

/*
 * Each slow call is an event, the step around them is one, and so is each
 * sample: with it a stack is walked, as with a call.
 */
static void check_dropped(unsigned per_mille)
{
	uint64_t received, produced;

	probes_close();
	assert_int_equal(probes_open(per_mille), 0);
	tell();
	received = collector_received(probes.collector);
	for (unsigned i = 0; i < TIMES; i++)
		blocking_call();
	settle();
	produced = risen(COUNTER_produced);
	received = collector_received(probes.collector) - received;
	assert_int_equal(produced, risen(COUNTER_stack_walks) + 1);
	assert_true(produced > TIMES);
	assert_int_equal(risen(COUNTER_ring_full), 0);
	assert_int_equal(risen(COUNTER_dropped_on_purpose), per_mille ? produced : 0);
	assert_int_equal(received, per_mille ? 0 : produced);
	assert_int_equal(probes.calls, per_mille ? 0 : TIMES);
}

static void test_dropped_on_purpose(void **state)
{
	(void)state;
	check_dropped(1000);
	check_dropped(0);
}

static int set_up(void **state)
{
	(void)state;
	/* Where the image says that it is. */
	arena = mmap((void *)BASE, ARENA, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (arena == MAP_FAILED)
		return -1;
	range = (struct mem_range){ .address = BASE, .bytes = arena, .length = ARENA };
	py.layout = &layout;
	py.mem = mem_open_image(&range, 1);
	probes.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!py.mem || probes.epoll_fd < 0)
		return -1;
	return probes_open(0);
}

static int tear_down(void **state)
{
	(void)state;
	probes_close();
	mem_free((struct mem *)py.mem);
	role_table_free(&roles);
	return munmap(arena, ARENA) || close(probes.epoll_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_counters),
		cmocka_unit_test(test_request_counters),
		cmocka_unit_test(test_no_thread_state),
		cmocka_unit_test(test_kernel_walks_as_user_space_does),
		cmocka_unit_test(test_no_walk_on_a_healthy_loop),
		cmocka_unit_test(test_short_calls_add_up),
		cmocka_unit_test(test_holder_of_the_gil),
		cmocka_unit_test(test_slots_are_used_again),
		cmocka_unit_test(test_loop_that_is_closed),
		cmocka_unit_test(test_dropped_on_purpose),
		cmocka_unit_test(test_full_tables),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
