// SPDX-License-Identifier: Apache-2.0
#include "attribute/waits.h"

#include <string.h>

#include "attribute/attribute.h"
#include "base/text.h"

/*
 * Frames that say what is waited for when everything inside of them is waiting, too:
 * end of the file's path, start of the qualified name.
 */
static const struct {
	const char *file, *qualname;
	enum time_part part;
} signatures[] = {
	/* threads that are all taken: AnyIO's tokens */
	{ "anyio/_backends/_asyncio.py", "CapacityLimiter.acquire", PART_thread_queue },
	/* connections that are all taken */
	{ "asyncpg/pool.py", "Pool._acquire", PART_pool_wait },
	{ "psycopg_pool/pool_async.py", "AsyncConnectionPool.getconn", PART_pool_wait },
	{ "psycopg_pool/pool_async.py", "AsyncConnectionPool._getconn", PART_pool_wait },
	{ "sqlalchemy/util/queue.py", "AsyncAdaptedQueue.get", PART_pool_wait },
	{ "aiomysql/pool.py", "Pool._acquire", PART_pool_wait },
	{ "aiopg/pool.py", "Pool._acquire", PART_pool_wait },
	{ "redis/asyncio/connection.py", "BlockingConnectionPool.get_connection", PART_pool_wait },
	{ "httpcore/_async/connection_pool.py", "AsyncPoolRequest.wait_for_connection",
	  PART_pool_wait },
	{ "httpcore/_async/connection_pool.py", "RequestStatus.wait_for_connection",
	  PART_pool_wait },
	{ "aiohttp/connector.py", "BaseConnector._wait_for_available_connection",
	  PART_pool_wait },
	{ "pymongo/asynchronous/pool.py", "Pool._get_conn", PART_pool_wait },
	{ "asyncio/locks.py", "Semaphore.acquire", PART_pool_wait },
	/* the other end of the request */
	{ "uvicorn/protocols/http/httptools_impl.py", "RequestResponseCycle.receive",
	  PART_client_wait },
	{ "uvicorn/protocols/http/h11_impl.py", "RequestResponseCycle.receive",
	  PART_client_wait },
	{ "uvicorn/protocols/http/flow_control.py", "FlowControl.drain", PART_client_wait },
};

/* SQLAlchemy waits for a connection in a greenlet: what is seen is who waits for it. */
static bool is_sqlalchemy_queue(const struct frame *frames, size_t count)
{
	bool queue = false;

	for (size_t i = 0; i < count; i++) {
		const struct code_info *code = frames[i].code;

		/* before 3.12 wait_for() leaves the queue to a task of its own */
		if (text_ends_with(code->file, "asyncio/queues.py"))
			queue = true;
		else if (text_ends_with(code->file, "asyncio/tasks.py"))
			queue |= !strcmp(code->function, "wait_for");
		else if (!text_ends_with(code->file, "sqlalchemy/util/compat.py"))
			return queue && !strcmp(code->function, "greenlet_spawn") &&
			       strstr(code->file, "/sqlalchemy/util/");
	}
	return false;
}

/* A parent that listens for its client while a task of its own streams waits for nothing. */
static bool listens_only(const struct code_info *code)
{
	return strstr(code->qualname, "listen_for_disconnect") != NULL;
}

static enum time_part part_of(const struct task_info *task, const struct frame *frames,
			      size_t count)
{
	struct task_wait found;

	for (size_t i = 0; i < count; i++) {
		const struct code_info *code = frames[i].code;

		if (listens_only(code))
			return PART_other_wait;
		for (size_t k = 0; k < sizeof(signatures) / sizeof(*signatures); k++)
			if (text_ends_with(code->file, signatures[k].file) &&
			    !strncmp(code->qualname, signatures[k].qualname,
				     strlen(signatures[k].qualname))) {
				for (size_t m = i; m < count; m++)
					if (listens_only(frames[m].code))
						return PART_other_wait;
				return signatures[k].part;
			}
		if (code->origin == CODE_APPLICATION)
			break;
	}
	if (is_sqlalchemy_queue(frames, count))
		return PART_pool_wait;
	if (!task_wait_find(task, frames, count, &found))
		return PART_other_wait;
	/* a lock is a pool of one */
	if (found.kind == TASK_WAIT_LOCK && !strcmp(found.detail, "Lock.acquire") &&
	    task_lock_is_own(frames, count, found.frame))
		return PART_pool_wait;
	if (found.kind == TASK_WAIT_TIMER)
		return PART_timer_wait;
	/* what a thread does for it is known from the thread: the rest is the way there */
	if (found.kind == TASK_WAIT_THREAD)
		return PART_thread_queue;
	return PART_other_wait;
}

/* Between FastAPI and the callable it calls. */
static bool is_between(const struct code_info *code)
{
	return text_ends_with(code->file, "fastapi/dependencies/utils.py") ||
	       text_ends_with(code->file, "/contextlib.py") ||
	       text_ends_with(code->file, "starlette/concurrency.py") ||
	       text_ends_with(code->file, "fastapi/concurrency.py") ||
	       strstr(code->file, "/anyio/") ||
	       strstr(code->file, "/asyncio/");
}

static bool is_solver(const struct code_info *code)
{
	return !strcmp(code->function, "solve_dependencies") &&
	       text_ends_with(code->file, "fastapi/dependencies/utils.py");
}

/* A middleware's own frame: Starlette's way or that of plain ASGI. */
static bool is_middleware(const struct code_info *code)
{
	if (strstr(code->file, "/uvicorn/") || strstr(code->file, "/starlette/routing.py") ||
	    strstr(code->file, "/fastapi/") || strstr(code->file, "/starlette/applications.py") ||
	    strstr(code->file, "/starlette/middleware/errors.py") ||
	    strstr(code->file, "/starlette/middleware/exceptions.py") ||
	    strstr(code->file, "/starlette/middleware/base.py") || code->origin == CODE_STDLIB)
		return false;
	return text_ends_with(code->qualname, ".dispatch") ||
	       (text_ends_with(code->qualname, ".__call__") &&
		strstr(code->qualname, "Middleware") != NULL);
}

/* Below it the request has gone on to what the middleware is around. */
static bool hands_on(const struct code_info *code)
{
	return strstr(code->qualname, "call_next") || strstr(code->file, "/starlette/routing.py") ||
	       strstr(code->file, "/fastapi/routing.py") || is_middleware(code);
}

static void add_callable(struct request_wait *wait, uint64_t code, const struct frame *frame,
			 bool middleware)
{
	struct waiting_callable *last;

	if (wait->callable_count == WAIT_CALLABLES)
		return;
	for (size_t i = 0; i < wait->callable_count; i++) {
		if (wait->callables[i].code == code)
			return;
		wait->callables[i].innermost &= wait->callables[i].middleware != middleware;
	}
	last = &wait->callables[wait->callable_count++];
	*last = (struct waiting_callable){ code, place_of(frame), middleware, true };
}

static bool is_injected(const struct dependants *injected, uint64_t code)
{
	for (size_t i = 0; injected && i < injected->count; i++)
		if (injected->items[i].code == code)
			return true;
	return false;
}

void wait_add_thread(struct request_wait *wait, const struct dependants *injected,
		     const struct frame *frames, const uint64_t *codes, size_t count)
{
	/* what the thread was given, not what that calls */
	for (size_t i = count; i-- > 0;) {
		if (frames[i].code->origin == CODE_STDLIB || is_between(frames[i].code))
			continue;
		if (is_injected(injected, codes[i])) {
			wait->in_thread.code = codes[i];
			wait->in_thread.place = place_of(&frames[i]);
		}
		return;
	}
}

void wait_add_task(struct request_wait *wait, struct stack_set *stacks,
		   const struct task_info *task, const struct dependants *injected,
		   const struct frame *frames, const uint64_t *codes, size_t count)
{
	enum time_part part = part_of(task, frames, count);
	bool by_task = task->end == TASK_END_TASK || task->end == TASK_END_GATHER;
	bool solving = false;

	/* the part that comes first runs, as everywhere: see timeline.h */
	if (part < wait->part ||
	    (part == wait->part && (!wait->stack || (wait->by_task && !by_task)))) {
		wait->part = part;
		wait->stack = stack_of_frames(stacks, frames, count);
		wait->by_task = by_task;
	}
	if (task->end_object)
		wait->mark ^= task->end_object * 0x9e3779b97f4a7c15ull;
	for (size_t i = count; i-- > 0;) {
		const struct code_info *code = frames[i].code;

		if (is_solver(code)) {
			solving = true;
		} else if (solving && !is_between(code)) {
			add_callable(wait, codes[i], &frames[i], false);
			solving = false;
		} else if (i + 1 < count &&
			   text_ends_with(frames[i + 1].code->file, "/contextlib.py") &&
			   is_injected(injected, codes[i])) {
			/* a generator goes on after the endpoint */
			add_callable(wait, codes[i], &frames[i], false);
		} else if (is_middleware(code)) {
			bool own = true;

			for (size_t k = 0; k < i; k++)
				own &= !hands_on(frames[k].code);
			if (own)
				add_callable(wait, codes[i], &frames[i], true);
		}
	}
}
