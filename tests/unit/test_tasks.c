// SPDX-License-Identifier: Apache-2.0
/* Tasks and await chains over hand-made memory, whole, torn and hostile, in every layout. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#define ARENA (16u << 20)
#include "task_image.h"

#define HURRIED 140	/* requests, each with a task below its own: more than are walked at once */

static void each_tasks(void (*check)(void))
{
	for (unsigned i = 0; i < py_layout_count; i++) {
		build_tasks(&py_layouts[i]);
		check();
	}
	task_watch_free(watch);
	watch = NULL;
}

static void take(const struct task_limits *limits)
{
	assert_int_equal(task_watch_snapshot(watch, limits, &snapshot), 0);
}

static const struct task_info *info_of(uint64_t task)
{
	for (size_t i = 0; i < snapshot->count; i++)
		if (snapshot->tasks[i].task == task)
			return &snapshot->tasks[i];
	return NULL;
}

static void assert_dropped(enum task_reason reason, unsigned count)
{
	for (unsigned i = 0; i < TASK_REASON_COUNT; i++)
		assert_int_equal(snapshot->reasons[i], i == reason ? count : 0);
	assert_int_equal(snapshot->dropped, count);
}

/* ---- whole chains ------------------------------------------------------------ */

static void check_whole(void)
{
	const struct task_info *info;
	uint64_t one, two;

	start();
	one = waiting_task("first", 3);
	two = waiting_task("Task-17", 1);
	take(NULL);
	assert_dropped(TASK_REASON_TORN, 0);
	assert_int_equal(snapshot->count, 2);
	info = info_of(one);
	assert_non_null(info);
	assert_string_equal(info->name, "first");
	assert_int_equal(info->loop_tid, 7);
	assert_int_equal(info->state, TASK_PENDING);
	assert_int_equal(info->frame_count, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(info->frames[i].code, code_numbers[2 - i]);
		assert_int_equal(info->frames[i].where,
				 3 | layout.owner_generator << FRAME_OFFSET_BITS);
		assert_int_not_equal(info->frames[i].check, 0);
	}
	assert_int_equal(info->end, TASK_END_FUTURE);
	assert_int_equal(info->end_object, read64(one + layout.task_fut_waiter));
	assert_string_equal(info->end_type, "_asyncio.Future");
	assert_string_equal(info_of(two)->name, "Task-17");
	assert_int_equal(info_of(two)->serial, 17);
	assert_int_not_equal(info->serial, info_of(two)->serial);
}

static void test_whole(void **state)
{
	(void)state;
	each_tasks(check_whole);
}

/* Only what changed is walked again; a step that leads back to the same future counts. */
static void check_again(void)
{
	uint64_t one, inner, since, frame;

	start();
	one = waiting_task("one", 3);
	waiting_task("two", 2);
	take(NULL);
	assert_int_equal(snapshot->walked, 2);
	since = info_of(one)->since_ns;
	take(NULL);
	assert_int_equal(snapshot->walked, 0);
	assert_int_equal(info_of(one)->since_ns, since);
	inner = read64(read64(one + layout.task_coro) + layout.gen_frame + layout.frame_locals +
		       16) & ~3ull;
	frame = coroutine_frame(inner);
	put64(frame + layout.frame_instr, read64(frame + layout.frame_instr) + 4);
	take(NULL);
	assert_int_equal(snapshot->walked, 1);
	assert_true(info_of(one)->since_ns > since);
	assert_int_equal(info_of(one)->frame_count, 3);
	assert_int_equal(info_of(one)->frames[1].where & FRAME_NOT_STARTED, 5);
	/* the same coroutine awaits something else */
	suspend(inner, 0);
	put64(one + layout.task_fut_waiter, 0);
	take(NULL);
	assert_int_equal(info_of(one)->frame_count, 2);
	assert_int_equal(info_of(one)->end, TASK_END_NONE);
	/* another task at the same address */
	put64(one + layout.task_name, string("new"));
	take(NULL);
	assert_string_equal(info_of(one)->name, "new");
	/* it has ended */
	put32(one + layout.future_state, 2);
	take(NULL);
	assert_null(info_of(one));
	assert_int_equal(snapshot->count, 1);
	assert_dropped(TASK_REASON_TORN, 0);
}

static void test_again(void **state)
{
	(void)state;
	each_tasks(check_again);
}

/* While no loop runs a whole snapshot holds; what is not whole is looked at again. */
static void check_unchanged(void)
{
	const struct task_limits limits = { .unchanged = true };
	uint64_t one, before;

	start();
	one = waiting_task("one", 3);
	take(&limits);
	before = snapshot->time_ns;
	suspend(read64(one + layout.task_coro), 0);
	put64(one + layout.task_fut_waiter, 0);
	take(&limits);
	assert_int_equal(info_of(one)->frame_count, 3);
	assert_true(snapshot->time_ns > before);
	take(NULL);
	assert_int_equal(info_of(one)->frame_count, 1);
	put64(one + layout.task_coro, 0);
	take(NULL);
	assert_dropped(TASK_REASON_TORN, 1);
	put64(one + layout.task_coro, new_coroutine(code_at_line(1)));
	suspend(read64(one + layout.task_coro), 0);
	take(&limits);
	assert_dropped(TASK_REASON_TORN, 0);
	assert_int_equal(info_of(one)->frame_count, 1);
}

static void test_unchanged(void **state)
{
	(void)state;
	each_tasks(check_unchanged);
}

/* A task waits for another one through a future that stands for both. */
static void check_awaited(void)
{
	uint64_t parent, child, wrapper;

	start();
	parent = waiting_task("parent", 1);
	child = waiting_task("child", 1);
	await_plain(child, parent);
	take(NULL);
	assert_int_equal(info_of(child)->awaited_by_count, 1);
	assert_int_equal(info_of(child)->awaited_by[0], parent);
	assert_int_equal(info_of(parent)->child_count, 1);
	assert_int_equal(snapshot->tasks[info_of(parent)->children[0]].task, child);
	assert_int_equal(info_of(child)->child_count, 0);
	/* coroutine -> wrapper -> coroutine */
	wrapper = object_of(t_wrapper, 0, 32);
	put64(wrapper + 16, read64(child + layout.task_coro));
	suspend(read64(parent + layout.task_coro), wrapper);
	put64(parent + layout.task_fut_waiter, read64(child + layout.task_fut_waiter));
	take(NULL);
	assert_int_equal(info_of(parent)->frame_count, 2);
	assert_int_equal(info_of(parent)->end, TASK_END_FUTURE);
}

static void test_awaited(void **state)
{
	(void)state;
	each_tasks(check_awaited);
}

/* Of many tasks those that run for a request, and which request that is. */
static void check_requests(void)
{
	const struct task_limits limits = { .requests_only = true };
	uint64_t root, child, late, scope = http_scope("/items/7"), code, beside;

	start();
	for (unsigned i = 0; i < 40; i++)
		waiting_task("beside", 2);
	beside = tasks[0];
	code = code_of_local(LS_END_SCOPE, LS_ROLE_ROOT, 77);
	root = waiting_task("Task-9", 2);
	put_frame(task_code_frame(root), code, 0, 3, layout.owner_generator);
	put_local(task_code_frame(root), 0, scope);
	child = waiting_task("child", 3);
	await_plain(child, root);
	late = waiting_task("late", 1);
	take(&limits);
	assert_int_equal(snapshot->count, 2);
	assert_int_equal(snapshot->known, 43);
	assert_dropped(TASK_REASON_TORN, 0);
	assert_non_null(info_of(child));
	assert_ptr_equal(info_of(child)->request, info_of(root)->request);
	assert_int_equal(info_of(root)->request->scope, scope);
	assert_int_equal(info_of(root)->request->scope_type, SCOPE_HTTP);
	assert_int_equal(info_of(root)->request->root, root);
	assert_int_equal(info_of(root)->request->root_serial, 9);
	assert_string_equal(info_of(root)->request->path, "/items/7");
	/* what runs for none is not walked again */
	suspend(read64(beside + layout.task_coro), 0);
	put64(beside + layout.task_fut_waiter, 0);
	await_plain(late, root);
	take(&limits);
	assert_int_equal(snapshot->walked, 0);
	assert_int_equal(snapshot->count, 3);
	assert_non_null(info_of(late));
	take(NULL);
	assert_int_equal(snapshot->count, 43);
	assert_int_equal(snapshot->walked, 1);
	assert_null(info_of(beside)->request);
	assert_int_equal(info_of(beside)->frame_count, 1);
	/* it ends, and a request takes its place in memory: seen at once, or in between */
	for (int seen = 0; seen < 2; seen++) {
		uint64_t coroutine = new_coroutine(code);

		beside = tasks[seen];
		if (seen) {
			put32(beside + layout.future_state, 2);
			if (is_list())
				unlink_task(beside);
			take(&limits);
			assert_int_equal(snapshot->known, 42);
			put32(beside + layout.future_state, 0);
			if (is_list())
				to_tail(beside);
		}
		suspend(coroutine, 0);
		put_local(coroutine_frame(coroutine), 0, http_scope("/again"));
		put64(beside + layout.task_coro, coroutine);
		put64(beside + layout.task_fut_waiter, 0);
		put64(beside + layout.task_name, string("Task-11"));
		take(&limits);
		assert_int_equal(snapshot->count, 4 + (size_t)seen);
		assert_int_equal(info_of(beside)->request->root_serial, 11);
		assert_string_equal(info_of(beside)->request->path, "/again");
		assert_string_equal(info_of(beside)->name, "Task-11");
	}
}

static void test_requests(void **state)
{
	(void)state;
	each_tasks(check_requests);
}

/* ---- what cannot be ----------------------------------------------------------- */

static void check_circles(void)
{
	uint64_t one, self, first, second;

	start();
	one = waiting_task("one", 1);
	self = waiting_task("self", 1);
	suspend(read64(self + layout.task_coro), read64(self + layout.task_coro));
	take(NULL);
	assert_dropped(TASK_REASON_CYCLE, 1);
	assert_non_null(info_of(one));
	first = new_coroutine(code_at_line(1));
	for (unsigned i = 0; i < 7; i++) {
		second = new_coroutine(code_at_line(2));
		suspend(second, i ? first : read64(self + layout.task_coro));
		first = second;
	}
	suspend(read64(self + layout.task_coro), first);
	take(NULL);
	assert_dropped(TASK_REASON_CYCLE, 1);
	/* tasks that await each other are no chain */
	put64(self + layout.task_coro, new_coroutine(code_at_line(3)));
	put64(self + layout.task_fut_waiter, 0);
	suspend(read64(self + layout.task_coro), 0);
	await_plain(one, self);
	await_plain(self, one);
	take(NULL);
	assert_dropped(TASK_REASON_CYCLE, 0);
	assert_int_equal(info_of(one)->awaited_by[0], self);
	assert_int_equal(info_of(self)->awaited_by[0], one);
}

static void test_circles(void **state)
{
	(void)state;
	each_tasks(check_circles);
}

/* Those that there is no time for have their turn later, whether they are of requests or not. */
static void check_hurry(void)
{
	/* nothing changes, but what was left out is not seen by that */
	static const struct task_limits all = { .budget_ns = 1, .unchanged = true },
					requests = { .budget_ns = 1, .unchanged = true,
						     .requests_only = true };
	uint64_t code, root;

	start();
	code = code_of_local(LS_END_SCOPE, LS_ROLE_ROOT, 77);
	for (unsigned i = 0; i < HURRIED; i++) {
		root = waiting_task("Task-1", 1);
		put_frame(task_code_frame(root), code, 0, 3, layout.owner_generator);
		put_local(task_code_frame(root), 0, http_scope("/"));
		await_plain(waiting_task("child", 1), root);
	}
	for (int of_requests = 0; of_requests < 2; of_requests++) {
		task_watch_free(watch);
		watch = task_watch_new(&target, &config, &roles);
		take(of_requests ? &requests : &all);
		assert_in_range(snapshot->count, 1, 2 * HURRIED - 1);
		if (!of_requests)
			assert_dropped(TASK_REASON_BUDGET, 2 * HURRIED - (unsigned)snapshot->count);
		for (int more = 0; more < 20 && snapshot->count < 2 * HURRIED; more++)
			take(of_requests ? &requests : &all);
		assert_int_equal(snapshot->count, 2 * HURRIED);
		assert_dropped(TASK_REASON_BUDGET, 0);
	}
}

static void test_hurry(void **state)
{
	(void)state;
	each_tasks(check_hurry);
}

static void check_limits(void)
{
	const struct task_limits few = { .max_tasks = 10 }, shallow = { .max_chain = 50 };
	uint64_t deep;

	start();
	deep = waiting_task("deep", 200);
	for (unsigned i = 0; i < 29; i++)
		waiting_task("same", 1);
	take(NULL);
	assert_dropped(TASK_REASON_TORN, 0);
	assert_int_equal(snapshot->count, 30);
	assert_int_equal(info_of(deep)->frame_count, 200);
	task_watch_free(watch);
	watch = task_watch_new(&target, &config, &roles);
	take(&few);
	assert_dropped(TASK_REASON_LIMIT, 20);
	assert_int_equal(snapshot->count, 10);
	task_watch_free(watch);
	watch = task_watch_new(&target, &config, &roles);
	take(&shallow);
	assert_int_equal(info_of(deep)->frame_count, 50);
	assert_int_equal(info_of(deep)->end, TASK_END_CUT);
	assert_int_equal(snapshot->reasons[TASK_REASON_DEEP], 1);
	assert_int_equal(snapshot->dropped, 0);
}

static void test_limits(void **state)
{
	(void)state;
	each_tasks(check_limits);
}

static void check_torn(void)
{
	uint64_t one, good;

	start();
	good = waiting_task("good", 2);
	one = waiting_task("one", 2);
	/* its chain does not end in what it waits for */
	put64(one + layout.task_fut_waiter, new_future(config.type_future));
	take(NULL);
	assert_dropped(TASK_REASON_TORN, 1);
	/* not initialised yet */
	put64(one + layout.task_coro, 0);
	take(NULL);
	assert_dropped(TASK_REASON_TORN, 1);
	put64(one + layout.task_coro, UNMAPPED);
	take(NULL);
	assert_dropped(TASK_REASON_UNREADABLE, 1);
	/* its memory is something else's, with the type of a task still in it */
	put64(one + layout.task_coro, config.type_coroutine);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t field = one + (i ? layout.task_name : layout.future_loop);
		uint64_t value = read64(field);

		put64(field, 0);
		take(NULL);
		assert_dropped(TASK_REASON_TORN, 1);
		put64(field, value);
	}
	/* a coroutine that has ended */
	put64(one + layout.task_coro, new_coroutine(code_at_line(1)));
	put8(read64(one + layout.task_coro) + layout.gen_state, 1);
	take(NULL);
	assert_dropped(TASK_REASON_TORN, 1);
	/* a stack that does not belong to its frame */
	suspend(read64(one + layout.task_coro), 0);
	if (layout.frame_stackpointer != LS_ABSENT)
		put64(coroutine_frame(read64(one + layout.task_coro)) + layout.frame_stackpointer,
		      BASE);
	else
		put32(coroutine_frame(read64(one + layout.task_coro)) + layout.frame_stacktop,
		      0x7fffffff);
	take(NULL);
	assert_dropped(TASK_REASON_TORN, 1);
	/* a name that cannot be read is no reason to leave the task out */
	put64(good + layout.task_name, UNMAPPED);
	take(NULL);
	assert_null(info_of(good)->name);
	assert_int_equal(info_of(good)->frame_count, 2);
	assert_int_equal(snapshot->count, 1);
}

/* What cannot be read and runs for no request is not tried each time, until it changes. */
static void check_tried_again(void)
{
	const struct task_limits limits = { .requests_only = true };
	size_t walked = 0;
	uint64_t one;

	start();
	one = waiting_task("one", 1);
	put64(one + layout.task_fut_waiter, new_future(config.type_future));
	for (int i = 0; i < 64; i++) {
		take(&limits);
		walked += snapshot->walked;
	}
	assert_in_range(walked, 5, 10);
	put64(one + layout.task_fut_waiter, new_future(config.type_future));
	take(&limits);
	assert_int_equal(snapshot->walked, 1);
}

static void test_tried_again(void **state)
{
	(void)state;
	each_tasks(check_tried_again);
}

static void test_torn(void **state)
{
	(void)state;
	each_tasks(check_torn);
}

/* A list or set that is not one: what was found is reported, and that it is not all. */
static void check_broken(void)
{
	start();
	waiting_task("one", 1);
	waiting_task("two", 1);
	if (is_list())
		put64(tasks[1] + layout.task_node, 0);
	else
		put64(set_of_tasks + layout.set_mask, 1000);
	take(NULL);
	assert_int_equal(snapshot->reasons[TASK_REASON_LIST], 1);
	if (!is_list())
		return;
	/* a list that ends in itself */
	put64(tasks[1] + layout.task_node, tasks[0] + layout.task_node);
	take(NULL);
	assert_int_equal(snapshot->reasons[TASK_REASON_LIST], 1);
	assert_int_equal(snapshot->count, 2);
}

static void test_broken(void **state)
{
	(void)state;
	each_tasks(check_broken);
}

static void check_no_asyncio(void)
{
	config.type_task = 0;
	assert_int_equal(task_watch_snapshot(watch, NULL, &snapshot), -EAGAIN);
}

static void test_no_asyncio(void **state)
{
	(void)state;
	each_tasks(check_no_asyncio);
	task_watch_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_unchanged),
		cmocka_unit_test(test_awaited),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_circles),
		cmocka_unit_test(test_hurry),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_tried_again),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_no_asyncio),
	};

	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
