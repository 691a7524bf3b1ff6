// SPDX-License-Identifier: Apache-2.0
#include "resolve/pools.h"

#include <errno.h>
#include <string.h>

#include "base/intern.h"
#include "base/mem.h"
#include "base/text.h"
#include "discover/target.h"
#include "resolve/pool_table.h"

#define READ_TRIES 3
#define SESSION_ARGUMENTS 2 /* of a function that SQLAlchemy runs: where a session may be */

#define ASYNCIO "/asyncio/"

const char *pool_kind(const struct pool_signature *signature)
{
	return signature->kind;
}

enum pool_class pool_class(const struct pool_signature *signature)
{
	return signature->class;
}

bool pool_wait_means_full(const struct pool_signature *signature)
{
	return signature->means_full;
}

bool pool_of_threads(const struct pool_signature *signature)
{
	return signature->thread;
}

static bool is_frame(const struct pool_signature *row, const struct code_info *code)
{
	/* a folder: the file was renamed from one version to the next */
	if (text_ends_with(row->file, "/") ? !strstr(code->file, row->file)
					   : !text_ends_with(code->file, row->file))
		return false;
	return !strcmp(code->qualname, row->qualname);
}

static bool is_beneath(const struct pool_signature *row, const struct code_info *code)
{
	for (size_t i = 0; i < POOL_BENEATH && row->beneath[i]; i++)
		if (strstr(code->file, row->beneath[i]))
			return code->origin != CODE_APPLICATION;
	return false;
}

/* The queue of a pool, or wait_for(), which before 3.12 leaves the queue to another task. */
static bool in_queue(const struct pool_frames *frames, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (text_ends_with(frames->items[i].code->file, ASYNCIO "queues.py") ||
		    !strcmp(frames->items[i].code->function, "wait_for"))
			return true;
	return false;
}

static const struct pool_signature *match(const struct pool_frames *frames, bool thread, bool use,
					  size_t *ret_frame)
{
	for (size_t r = 0; r < pool_table_size; r++) {
		const struct pool_signature *row = &pool_table[r];
		size_t i = 0;

		if (row->thread != thread || row->use != use)
			continue;
		while (i < frames->count && !is_frame(row, frames->items[i].code) &&
		       is_beneath(row, frames->items[i].code))
			i++;
		if (i == frames->count || !is_frame(row, frames->items[i].code) ||
		    (row->reach == REACH_ENGINE && !in_queue(frames, i)) ||
		    (row->class == POOL_LOCK &&
		     !task_lock_is_own(frames->items, frames->count, i)))
			continue;
		*ret_frame = i;
		return row;
	}
	return NULL;
}

/* ---- SQLAlchemy -------------------------------------------------------------- */

/* From a session, a connection or an engine to the pool. */
static int pool_of_owner(const struct py_reader *py, uint64_t owner, uint64_t *ret_pool)
{
	static const char *const paths[] = { "pool", "engine.pool", "bind.pool", "bind.engine.pool",
					     "sync_session.bind.pool", "session.bind.pool",
					     "connection.engine.pool" };
	uint64_t pool, queue;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (py_instance_path(py, owner, paths[i], &pool) ||
		    py_instance_path(py, pool, "_pool._queue", &queue))
			continue;
		*ret_pool = pool;
		return 0;
	}
	return -ENOENT;
}

/*
 * The pool behind the function that greenlet_spawn() was given, or behind its arguments.
 * -ENOENT: neither leads to one.
 */
static int reach_engine(struct task_watch *watch, const struct target *target,
			const struct process_config *config, const struct task_info *task,
			uint32_t frame, uint64_t *ret_pool)
{
	const struct py_reader *py = &target->py;
	uint64_t function, type, owner, arguments;
	int error = task_frame_local(watch, task, frame, 0, &function);

	if (!error && !py_type(py, function, &type) && type == config->type_method &&
	    !mem_read_u64(target->mem, function + target->layout.method_self, &owner) &&
	    !pool_of_owner(py, owner, ret_pool))
		return 0;
	/* keyword-only arguments come before the rest of the positional ones */
	for (uint32_t local = 1; local <= 3 && error != -EAGAIN; local++) {
		error = task_frame_local(watch, task, frame, local, &arguments);
		for (size_t i = 0; i < SESSION_ARGUMENTS && !error; i++)
			if (!py_sequence_item(py, arguments, i, &owner) &&
			    !pool_of_owner(py, owner, ret_pool))
				return 0;
	}
	return error == -EAGAIN ? error : -ENOENT;
}

/* What is awaited must be this pool's queue, where that is in the chain. 0 or -ENOENT. */
static int check_queue(const struct py_reader *py, uint64_t awaited, uint64_t pool)
{
	uint64_t queue;

	if (!awaited)
		return 0;
	if (py_instance_path(py, pool, "_pool._queue", &queue) || awaited != queue)
		return -ENOENT;
	return 0;
}

/* ---- what a task waits for --------------------------------------------------- */

const struct pool_signature *pool_match(const struct task_info *task,
					const struct pool_frames *frames, size_t *ret_frame)
{
	/* an await that has come to its end is no wait any more */
	if (task->state == TASK_RUNNING || task->end == TASK_END_NONE ||
	    task->end == TASK_END_CUT)
		return NULL;
	return match(frames, false, false, ret_frame);
}

const struct pool_signature *pool_match_use(const struct pool_frames *frames, size_t *ret_frame)
{
	return match(frames, false, true, ret_frame);
}

static bool thread_waits(const struct code_info *code)
{
	return !strcmp(code->qualname, "Condition.wait") &&
	       text_ends_with(code->file, "/threading.py");
}

bool pool_thread_may_match(const struct code_info *code)
{
	if (!code || thread_waits(code))
		return code != NULL;
	for (size_t r = 0; r < pool_table_size; r++)
		if (pool_table[r].thread && pool_table[r].use && is_beneath(&pool_table[r], code))
			return true;
	return false;
}

const struct pool_signature *pool_match_thread(const struct pool_frames *frames, size_t *ret_frame)
{
	return frames->count && thread_waits(frames->items[0].code)
		       ? match(frames, true, false, ret_frame)
		       : NULL;
}

const struct pool_signature *pool_match_thread_use(const struct pool_frames *frames,
						   size_t *ret_frame)
{
	return match(frames, true, true, ret_frame);
}

uint64_t pool_queue(struct task_watch *watch, const struct task_info *task,
		    const struct pool_frames *frames, const struct pool_wait_seen *seen)
{
	uint64_t queue;

	for (size_t i = 0; seen->signature->reach == REACH_ENGINE && i < seen->frame; i++)
		if (text_ends_with(frames->items[i].code->file, ASYNCIO "queues.py"))
			return task_frame_local(watch, task, frames->at[i], 0, &queue) ? 0 : queue;
	return 0;
}

int pool_of_argument(const struct target *target, const struct pool_signature *signature,
		     uint64_t *object)
{
	const struct py_reader *py = &target->py;

	if (signature->reach == REACH_CLIENT && *object &&
	    py_instance_path(py, *object, signature->path, object))
		*object = 0;
	if (signature->type && !(*object && py_is(py, *object, signature->type)))
		return -ENOENT;
	if (signature->bounded && pool_read(py, signature, *object).size < 0)
		return -ENOENT;
	return 0;
}

int pool_reach(struct task_watch *watch, const struct target *target,
	       const struct process_config *config, const struct task_info *task,
	       const struct pool_frames *frames, struct pool_wait_seen *seen)
{
	uint32_t frame = frames->at[seen->frame];
	int error;

	seen->object = 0;
	seen->call = task_frame_object(watch, task, frame);
	if (seen->signature->reach != REACH_ENGINE) {
		error = task_frame_local(watch, task, frame, 0, &seen->object);
	} else {
		error = reach_engine(watch, target, config, task, frame, &seen->object);
		if (!error)
			error = check_queue(&target->py, pool_queue(watch, task, frames, seen),
					    seen->object);
	}
	if (error)
		seen->object = 0;
	if (pool_of_argument(target, seen->signature, &seen->object))
		return -ENOENT;
	return error == -EAGAIN ? error : 0;
}

/* Nobody named a limiter: AnyIO takes the default one. */
static bool is_default_limiter(struct task_watch *watch, const struct target *target,
			       const struct task_info *task, const struct pool_frames *frames)
{
	uint64_t limiter;
	uint32_t local;

	for (size_t i = 0; i < frames->count; i++) {
		if (strcmp(frames->items[i].code->function, "run_sync_in_worker_thread"))
			continue;
		return !py_code_local(&target->py, task->frames[frames->at[i]].code, "limiter",
				      &local) &&
		       !task_frame_local(watch, task, frames->at[i], local, &limiter) &&
		       py_is(&target->py, limiter, "NoneType");
	}
	return false;
}

static const char *own_name(const struct py_reader *py, uint64_t object)
{
	const char *text = NULL;
	uint64_t type, name;
	char buffer[128];

	if (!py_instance_attribute(py, object, "name", &name))
		text = py_string_intern(py, name);
	if (text && text[0])
		return text;
	if (py_type(py, object, &type) || py_type_name(py, type, buffer, sizeof(buffer)))
		return NULL;
	return intern(buffer);
}

const char *pool_name(struct task_watch *watch, const struct target *target,
		      const struct task_info *task, const struct pool_frames *frames,
		      const struct pool_wait_seen *seen)
{
	const char *name;

	if (!seen->object)
		return NULL;
	if (seen->signature->class == POOL_THREADS &&
	    is_default_limiter(watch, target, task, frames))
		return intern("default threads");
	name = own_name(&target->py, seen->object);
	/* its kind says that already */
	return seen->signature->class == POOL_LOCK && name && !strcmp(name, "Lock") ? NULL : name;
}

const char *pool_thread_name(const struct target *target, uint64_t object)
{
	return object ? own_name(&target->py, object) : NULL;
}

/* ---- numbers ------------------------------------------------------------------ */

static struct pool_numbers read_once(const struct py_reader *py,
				     const struct pool_signature *signature, uint64_t object)
{
	struct pool_numbers numbers = { -1, -1, -1 };

	for (size_t i = 0; i < POOL_VARIANTS && (numbers.size < 0 || numbers.in_use < 0); i++)
		if (signature->counts[i].size[0].how != COUNT_END)
			numbers = pool_count(py, &signature->counts[i], object);
	return numbers;
}

static bool same(const struct pool_numbers *a, const struct pool_numbers *b)
{
	return a->size == b->size && a->in_use == b->in_use && a->waiting == b->waiting;
}

struct pool_numbers pool_read(const struct py_reader *py, const struct pool_signature *signature,
			      uint64_t object)
{
	static const struct pool_numbers unknown = { -1, -1, -1 };
	struct pool_numbers before, numbers;

	if (!object)
		return unknown;
	numbers = read_once(py, signature, object);
	for (int try = 1; try < READ_TRIES; try++) {
		before = numbers;
		numbers = read_once(py, signature, object);
		if (same(&before, &numbers))
			return numbers;
	}
	return unknown;
}

struct borrower {
	uint64_t task;
};

static int is_borrower(void *context, uint64_t key, uint64_t value)
{
	(void)value;
	return ((const struct borrower *)context)->task == key;
}

bool pool_has_borrower(const struct py_reader *py, uint64_t limiter, uint64_t task)
{
	struct borrower borrower = { task };
	uint64_t set;

	if (!task || py_instance_attribute(py, limiter, "_borrowers", &set))
		return true;
	return py_set_walk(py, set, is_borrower, &borrower) != 0;
}
