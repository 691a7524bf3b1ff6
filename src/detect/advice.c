// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "detect/detect.h"

/* More specific rows first; NULL matches everything. */
static const struct {
	enum finding_kind kind;
	const char *syscall;
	const char *text;
} rows[] = {
	{ FINDING_blocking_call, "clock_nanosleep",
	  "use await asyncio.sleep(), or a def endpoint, which runs in a thread" },
	{ FINDING_blocking_call, "fsync",
	  "write in a thread: await asyncio.to_thread(...), or a def endpoint" },
	{ FINDING_blocking_call, "fdatasync",
	  "write in a thread: await asyncio.to_thread(...), or a def endpoint" },
	{ FINDING_blocking_call, "wait4",
	  "use asyncio.create_subprocess_exec(), or run it in a thread" },
	{ FINDING_blocking_call, "waitid",
	  "use asyncio.create_subprocess_exec(), or run it in a thread" },
	{ FINDING_blocking_call, "connect",
	  "use the client's async version, or call it in a thread" },
	{ FINDING_blocking_call, "recvfrom",
	  "use the client's async version, or call it in a thread" },
	{ FINDING_blocking_call, "poll",
	  "use the client's async version, or call it in a thread" },
	{ FINDING_blocking_call, "futex",
	  "await the result instead (asyncio.wrap_future, asyncio.Queue), or wait in a thread" },
	{ FINDING_blocking_call, NULL,
	  "do it in a thread (await asyncio.to_thread(...), a def endpoint) or with an async "
	  "library" },
	{ FINDING_cpu_stall, NULL,
	  "do less at once, or move it to a process pool (or a thread, when it releases the GIL)" },
	{ FINDING_gc_pause, NULL,
	  "keep fewer objects alive: gc.freeze() after start-up, fewer and flatter caches, no "
	  "gc.collect() in requests" },
	{ FINDING_gil_contention, NULL,
	  "move this Python code out of the process (process pool, worker), threads only take "
	  "the GIL from the loop" },
	{ FINDING_lock_wait, NULL,
	  "use asyncio.Lock on the loop, or take the thread lock in a thread" },
	{ FINDING_log_backpressure, NULL,
	  "log through logging.handlers.QueueHandler, and let the reader of the pipe keep up" },
	{ FINDING_page_fault, NULL,
	  "give it more memory, or read the mapped file in a thread" },
	{ FINDING_cpu_starvation, NULL,
	  "give it more CPU (limits, requests, fewer neighbours); the code is not to blame" },
	{ FINDING_threadpool_exhaustion, NULL,
	  "keep the threads for short work: make this async or give it a limiter of its own; "
	  "more tokens only help when its CPU and its peer can take it" },
	{ FINDING_executor_exhaustion, NULL,
	  "give this work an executor of its own, or make it async; asyncio resolves names in "
	  "the default one" },
	{ FINDING_db_pool_exhaustion, NULL,
	  "give connections back before awaiting anything else, shorten what is done while one "
	  "is held; then raise the pool's size within what the database allows" },
	{ FINDING_http_pool_exhaustion, NULL,
	  "read or close responses at once, and raise the client's limits to the number of "
	  "requests that are to run at the same time" },
	{ FINDING_slow_dependency, NULL,
	  "look at this call on the peer's side (plan of the statement, its load), or cache its "
	  "answer" },
	{ FINDING_slow_di_dependency, NULL,
	  "look at what this callable waits for: cache its result, or do it once at start-up" },
	{ FINDING_n_plus_one, NULL,
	  "ask once for all: IN (...), joinedload/selectinload, MGET or a pipeline, a batch "
	  "endpoint" },
	{ FINDING_loop_saturated, NULL,
	  "run more workers, or do less per callback; no single piece of code is to blame" },
};

const char *advice_for(const struct finding *finding)
{
	if (finding->kind == FINDING_lock_wait && finding->pool)
		return "await nothing slow while the lock is held; a lock for each key, or reading "
		       "without it, lets the others go on";
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].kind == finding->kind &&
		    (!rows[i].syscall ||
		     (finding->syscall && !strcmp(rows[i].syscall, finding->syscall))))
			return rows[i].text;
	return "";
}
