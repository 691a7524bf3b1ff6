/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks of an interpreter of any layout in a memory image, where asyncio keeps them. */
#ifndef LS_TEST_TASK_IMAGE_H
#define LS_TEST_TASK_IMAGE_H

#include "walk_image.h"

#include "discover/target.h"
#include "resolve/tasks.h"

#define MAX_TASKS 300

static struct target target;
static uint64_t t_iter, t_wrapper, runtime, set_of_tasks, tasks[MAX_TASKS];
static size_t task_count;
static struct task_watch *watch;
static const struct task_snapshot *snapshot;

static inline bool is_list(void)
{
	return layout.version >= 0x030e;
}

static inline uint64_t new_set(size_t slots)
{
	uint64_t at = object_of(t_set, 0, 256);

	put64(at + layout.set_mask, slots - 1);
	put64(at + layout.set_table, get(slots * 16));
	return at;
}

static inline uint64_t new_module(const char *name, uint64_t value)
{
	uint64_t at = object_of(type("module", 0, 0), 0, 64);

	put64(at + layout.module_dict, dict_of_one(name, value));
	return at;
}

static inline void empty_list(uint64_t head)
{
	put64(head, head);
	put64(head + 8, head);
}

/* An interpreter with one thread and no task. */
static inline void build_tasks(const struct py_layout *row)
{
	uint64_t interp;

	walk_build(row);
	task_count = 0;
	t_iter = type("_asyncio.FutureIter", 0, 0);
	t_wrapper = type("coroutine_wrapper", 0, 0);
	runtime = get(4096);
	interp = get(16384);
	put64(runtime + layout.runtime_interpreters_head, interp);
	put64(interp + layout.interp_tstate_head, tstate);
	if (is_list()) {
		empty_list(interp + layout.interp_tasks_head);
		empty_list(tstate + layout.tstate_tasks_head);
	} else {
		set_of_tasks = new_set(1024);
		put64(interp + layout.interp_modules,
		      dict_of_one("_asyncio",
				  new_module(layout.version < 0x030c ? "_all_tasks"
								     : "_scheduled_tasks",
					     new_instance_dict("data", set_of_tasks))));
	}
	target = (struct target){ .mem = (struct mem *)py.mem, .layout = layout, .interp = interp,
				  .runtime = runtime, .loop_count = 1 };
	target.py = (struct py_reader){ .mem = py.mem, .layout = &target.layout };
	target.loops[0] = (struct event_loop){ .tid = 7, .tstate = tstate, .loop = loop };
	task_watch_free(watch);
	watch = task_watch_new(&target, &config, &roles);
	assert_non_null(watch);
}

static inline void to_tail(uint64_t task)
{
	uint64_t head = tstate + layout.tstate_tasks_head, last = read64(head + 8);
	uint64_t node = task + layout.task_node;

	put64(node, head);
	put64(node + 8, last);
	put64(last, node);
	put64(head + 8, node);
}

static inline void unlink_task(uint64_t task)
{
	uint64_t node = task + layout.task_node, next = read64(node), last = read64(node + 8);

	put64(last, next);
	put64(next + 8, last);
	put64(node, 0);
	put64(node + 8, 0);
}

/* Puts a task where asyncio keeps its tasks. */
static inline void enlist(uint64_t task)
{
	uint64_t slot, reference;

	tasks[task_count++] = task;
	put64(task + layout.future_loop, loop);
	if (!is_list()) {
		reference = object_of(type("weakref", 0, 0), 0, 64);
		put64(reference + layout.weakref_object, task);
		slot = read64(set_of_tasks + layout.set_table) + 16 * (task_count * 3 % 1024);
		put64(slot, reference);
		put64(slot + 8, task >> 4 | task << 60);
		return;
	}
	to_tail(task);
}

static inline void suspend(uint64_t coroutine, uint64_t awaited)
{
	uint64_t frame = coroutine_frame(coroutine);

	put8(coroutine + layout.gen_state, (uint8_t)layout.state_suspended);
	put_local(frame, 2, awaited);
	if (layout.frame_stackpointer != LS_ABSENT)
		put64(frame + layout.frame_stackpointer, frame + layout.frame_locals + 8 * 3);
	else
		put32(frame + layout.frame_stacktop, 3);
}

static inline uint64_t new_iter(uint64_t future)
{
	uint64_t at = object_of(t_iter, 0, 32);

	put64(at + 16, future);
	return at;
}

static uint64_t code_numbers[MAX_TASKS];

/* A task with `depth` coroutines, the last of which waits for a future. */
static inline uint64_t waiting_task(const char *name, unsigned depth)
{
	uint64_t future = new_future(config.type_future), at, task;

	at = new_iter(future);
	for (unsigned i = depth; i-- > 0;) {
		uint64_t coroutine;

		if (i < MAX_TASKS && !code_numbers[i])
			code_numbers[i] = code_at_line(10 + i);
		coroutine = new_coroutine(code_numbers[i < MAX_TASKS ? i : 0]);
		suspend(coroutine, at);
		at = coroutine;
	}
	task = new_future(config.type_task);
	put64(task + layout.task_coro, at);
	put64(task + layout.task_name, string(name));
	put64(task + layout.task_fut_waiter, future);
	enlist(task);
	return task;
}

static inline void start(void)
{
	memset(code_numbers, 0, sizeof(code_numbers));
}

#endif
