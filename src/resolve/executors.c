// SPDX-License-Identifier: Apache-2.0
/* Executors with threads, from the module that knows all their threads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "base/mem.h"
#include "discover/target.h"
#include "resolve/executor_queue.h"
#include "resolve/pools.h"

#define CLOSURE_MAX 8
#define NAME_BYTES 256
#define READ_TRIES 3

/* From then on a thread is counted as idle when it waits, before it was after each call. */
#define IDLE_IS_EXACT 0x030c

struct reading {
	const struct target *target;
	struct executors *executors;
};

static int read_int(const struct py_reader *py, uint64_t object, const char *name, int64_t *ret)
{
	uint64_t value;
	int error = py_instance_attribute(py, object, name, &value);

	return error ? error : py_long(py, value, ret);
}

static int count_item(void *context, uint64_t key, uint64_t value)
{
	(void)key;
	(void)value;
	++*(int64_t *)context;
	return 0;
}

static void name_executor(const struct py_reader *py, struct executor *executor)
{
	uint64_t prefix;
	char text[NAME_BYTES];

	if (py_instance_attribute(py, executor->object, "_thread_name_prefix", &prefix) ||
	    py_string(py, prefix, text, sizeof(text)) <= 0)
		executor->name = intern("ThreadPoolExecutor");
	else if (!strcmp(text, "asyncio"))
		executor->name = intern("default executor");
	else
		executor->name = intern_passing(text);
}

/* The place of an executor among those found; -1: there is no room. */
static int executor_at(const struct py_reader *py, struct executors *executors, uint64_t object)
{
	struct executor executor = { .object = object };

	for (size_t i = 0; i < executors->count; i++)
		if (executors->items[i].object == object)
			return (int)i;
	if (executors->count == EXECUTORS_MAX)
		return -1;
	name_executor(py, &executor);
	executors->items[executors->count] = executor;
	return (int)executors->count++;
}

/* A weak reference to a thread, which keeps one to its executor among its arguments. */
static int take_thread(void *context, uint64_t key, uint64_t value)
{
	const struct reading *reading = context;
	const struct target *target = reading->target;
	const struct py_reader *py = &target->py;
	struct executors *executors = reading->executors;
	uint64_t thread, arguments, reference, executor, queue;
	int64_t ident;
	int at;

	(void)value;
	if (mem_read_u64(target->mem, key + target->layout.weakref_object, &thread) ||
	    py_instance_attribute(py, thread, "_args", &arguments) ||
	    py_sequence_item(py, arguments, 0, &reference) ||
	    mem_read_u64(target->mem, reference + target->layout.weakref_object, &executor) ||
	    py_instance_attribute(py, executor, "_work_queue", &queue)) {
		executors->partial = true;
		return 0;
	}
	at = executor_at(py, executors, executor);
	executors->partial |= at < 0;
	if (at < 0 || executors->thread_count == EXECUTOR_THREADS ||
	    read_int(py, thread, "_ident", &ident))
		return 0;
	executors->threads[executors->thread_count].ident = (uint64_t)ident;
	executors->threads[executors->thread_count++].executor = (uint32_t)at;
	return 0;
}

/* The threads that manage the processes of executors; -ENOENT: there were never any. */
static int managers_of(const struct target *target, uint64_t *ret_data)
{
	const struct py_reader *py = &target->py;
	uint64_t module, threads;
	int error = py_module(py, target->interp, "concurrent.futures.process", &module);

	if (error)
		return error;
	return py_module_attribute(py, module, "_threads_wakeups", &threads) ||
			       py_instance_attribute(py, threads, "data", ret_data)
		       ? -EIO
		       : 0;
}

/* Are there executors with processes?  They have queues of another kind. */
static bool uses_processes(const struct target *target)
{
	uint64_t data;
	int64_t count = 0;
	int error = managers_of(target, &data);

	if (error)
		return error != -ENOENT;
	return py_dict_walk(&target->py, data, count_item, &count) || count;
}

int executors_read(const struct target *target, struct executors *ret_executors)
{
	struct reading reading = { target, ret_executors };
	const struct py_reader *py = &target->py;
	uint64_t module, threads, data;
	int error;

	memset(ret_executors, 0, sizeof(*ret_executors));
	error = py_module(py, target->interp, "concurrent.futures.thread", &module) ?:
		py_module_attribute(py, module, "_threads_queues", &threads) ?:
		py_instance_attribute(py, threads, "data", &data) ?:
		py_dict_walk(py, data, take_thread, &reading);
	return error ? error : ret_executors->count ? 0 : -ENOENT;
}

/* Calls in the queues of all of them, the newest ones of each. */
static void read_calls(const struct target *target, struct executors *executors)
{
	const struct py_reader *py = &target->py;
	_cleanup_free_ uint64_t *items = calloc(EXECUTOR_CALLS, sizeof(*items));
	uint64_t queue;
	int64_t length;
	ssize_t count;

	executors->partial |= !items || uses_processes(target);
	for (size_t i = 0; i < executors->count && items; i++) {
		count = -1;
		if (!py_instance_attribute(py, executors->items[i].object, "_work_queue", &queue))
			count = executor_queue_items(py, queue, items,
						     EXECUTOR_CALLS - executors->call_count,
						     &length);
		executors->partial |= count < 0 || count < length;
		if (count <= 0)
			continue;
		if (executor_queue_futures(py, items, (size_t)count)) {
			executors->partial = true;
			continue;
		}
		for (ssize_t k = 0; k < count; k++) {
			executors->partial |= !items[k];
			if (!items[k])
				continue;
			executors->calls[executors->call_count].call = items[k];
			executors->calls[executors->call_count++].executor = (uint32_t)i;
		}
	}
}

int executor_of_call(const struct target *target, struct executors *executors, uint64_t call,
		     const struct executor **ret_executor)
{
	if (!executors->calls_read)
		read_calls(target, executors);
	executors->calls_read = true;
	for (size_t i = executors->call_count; i-- > 0;) {
		if (executors->calls[i].call != call)
			continue;
		*ret_executor = &executors->items[executors->calls[i].executor];
		return 0;
	}
	return executors->count && !executors->partial ? -ENOENT : -ENODATA;
}

static struct pool_numbers read_once(const struct target *target, uint64_t object)
{
	const struct py_reader *py = &target->py;
	struct pool_numbers numbers = { -1, -1, -1 };
	int64_t threads = 0, idle;
	uint64_t set, queue, semaphore;

	if (read_int(py, object, "_max_workers", &numbers.size))
		numbers.size = -1;
	if (!py_instance_attribute(py, object, "_work_queue", &queue) &&
	    executor_queue_items(py, queue, NULL, 0, &numbers.waiting) < 0)
		numbers.waiting = -1;
	if (py_instance_attribute(py, object, "_threads", &set) ||
	    py_set_walk(py, set, count_item, &threads))
		return numbers;
	if (target->layout.version < IDLE_IS_EXACT) {
		if (numbers.waiting > 0)
			numbers.in_use = threads;
		return numbers;
	}
	if (!py_instance_attribute(py, object, "_idle_semaphore", &semaphore) &&
	    !read_int(py, semaphore, "_value", &idle) && idle >= 0 && idle <= threads)
		numbers.in_use = threads - idle;
	return numbers;
}

struct pool_numbers executor_numbers(const struct target *target, uint64_t object)
{
	static const struct pool_numbers unknown = { -1, -1, -1 };
	struct pool_numbers numbers, before;

	if (!object)
		return unknown;
	numbers = read_once(target, object);
	for (int try = 1; try < READ_TRIES; try++) {
		before = numbers;
		numbers = read_once(target, object);
		if (before.size == numbers.size && before.in_use == numbers.in_use &&
		    before.waiting == numbers.waiting)
			return numbers;
	}
	return unknown;
}

uint64_t executor_call(const struct target *target, const struct process_config *config,
		       const struct task_info *task)
{
	const struct py_layout *at = &target->layout;
	const struct py_reader *py = &target->py;
	uint64_t callback, closure, cell, content, state, type;
	ssize_t count;

	/* what tells the executor that nobody wants the result any more knows its future */
	if (!task->thread_call || task->end != TASK_END_FUTURE ||
	    mem_read_u64(target->mem, task->end_object + at->future_callback0, &callback) ||
	    !callback || mem_read_u64(target->mem, callback + at->ob_type, &type) ||
	    type != config->type_function ||
	    mem_read_u64(target->mem, callback + at->function_closure, &closure) || !closure)
		return 0;
	count = py_sequence_size(py, closure);
	for (ssize_t i = 0; i < count && i < CLOSURE_MAX; i++)
		if (!py_sequence_item(py, closure, (size_t)i, &cell) &&
		    !mem_read_u64(target->mem, cell + at->cell_ref, &content) && content &&
		    !py_instance_attribute(py, content, "_state", &state))
			return content;
	return 0;
}

static bool is_in_state(const struct py_reader *py, uint64_t call, const char *name)
{
	uint64_t state;
	char text[16];

	return !py_instance_attribute(py, call, "_state", &state) &&
	       py_string(py, state, text, sizeof(text)) >= 0 && !strcmp(text, name);
}

/* A call among those of an executor with processes, which take the oldest ones. */
struct search {
	const struct target *target;
	uint64_t call;
	int64_t processes;	/* of the executor that is looked at */
	int64_t before;		/* calls of it that are older */
	enum call_place place;
};

static int look_at_item(void *context, uint64_t key, uint64_t value)
{
	struct search *search = context;
	uint64_t future;

	(void)key;
	if (py_instance_attribute(&search->target->py, value, "future", &future) ||
	    future != search->call) {
		search->before++;
		return 0;
	}
	search->place = search->before < search->processes ? CALL_IN_PROCESS : CALL_QUEUED;
	return 1;
}

/* A weak reference to the thread that manages the processes of an executor. */
static int look_at_manager(void *context, uint64_t key, uint64_t value)
{
	struct search *search = context;
	const struct target *target = search->target;
	const struct py_reader *py = &target->py;
	uint64_t thread, items, processes;

	(void)value;
	search->processes = search->before = 0;
	if (!mem_read_u64(target->mem, key + target->layout.weakref_object, &thread) &&
	    !py_instance_attribute(py, thread, "processes", &processes) &&
	    !py_instance_attribute(py, thread, "pending_work_items", &items) &&
	    !py_dict_walk(py, processes, count_item, &search->processes))
		py_dict_walk(py, items, look_at_item, search);
	return search->place != CALL_IN_THREAD;
}

enum call_place executor_call_place(const struct target *target, uint64_t call)
{
	struct search search = { .target = target, .call = call, .place = CALL_IN_THREAD };
	uint64_t managers;

	if (is_in_state(&target->py, call, "PENDING"))
		return CALL_QUEUED;
	if (!is_in_state(&target->py, call, "RUNNING"))
		return CALL_NOWHERE;
	if (!managers_of(target, &managers))
		py_dict_walk(&target->py, managers, look_at_manager, &search);
	return search.place;
}
