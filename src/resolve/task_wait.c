// SPDX-License-Identifier: Apache-2.0
/* What a task waits for, from the function that it waits in. */
#include <string.h>

#include "base/intern.h"
#include "base/text.h"
#include "resolve/tasks.h"

/*
 * Functions that wait for one kind of thing: end of the file's name, and
 * qualified name.  From the innermost frame outwards as long as there is a row:
 * the outermost of them says what it is.
 */
static const struct {
	const char *file, *qualname;
	enum task_wait_kind kind;
} rows[] = {
	{ "/asyncio/tasks.py", "sleep", TASK_WAIT_TIMER },
	{ "/asyncio/tasks.py", "_wait", TASK_WAIT_TASK },
	{ "/asyncio/tasks.py", "wait", TASK_WAIT_TASK },
	{ "/asyncio/tasks.py", "_AsCompletedIterator._wait_for_one", TASK_WAIT_TASK },
	{ "/asyncio/tasks.py", "_cancel_and_wait", TASK_WAIT_TASK },
	{ "/asyncio/taskgroups.py", "TaskGroup.__aexit__", TASK_WAIT_TASK },
	{ "/asyncio/taskgroups.py", "TaskGroup._aexit", TASK_WAIT_TASK },
	{ "/asyncio/locks.py", "Lock.acquire", TASK_WAIT_LOCK },
	{ "/asyncio/locks.py", "Semaphore.acquire", TASK_WAIT_LOCK },
	{ "/asyncio/locks.py", "Condition.wait", TASK_WAIT_LOCK },
	{ "/asyncio/locks.py", "Condition.wait_for", TASK_WAIT_LOCK },
	{ "/asyncio/locks.py", "Barrier._wait", TASK_WAIT_LOCK },
	{ "/asyncio/locks.py", "Barrier._block", TASK_WAIT_LOCK },
	{ "/asyncio/locks.py", "Barrier.wait", TASK_WAIT_LOCK },
	{ "/asyncio/locks.py", "Event.wait", TASK_WAIT_EVENT },
	{ "/asyncio/queues.py", "Queue.get", TASK_WAIT_QUEUE },
	{ "/asyncio/queues.py", "Queue.put", TASK_WAIT_QUEUE },
	{ "/asyncio/queues.py", "Queue.join", TASK_WAIT_QUEUE },
	{ "/asyncio/threads.py", "to_thread", TASK_WAIT_THREAD },
	{ "/asyncio/streams.py", "StreamReader._wait_for_data", TASK_WAIT_SOCKET },
	{ "/asyncio/streams.py", "FlowControlMixin._drain_helper", TASK_WAIT_SOCKET },
	{ "/asyncio/selector_events.py", "BaseSelectorEventLoop.sock_accept", TASK_WAIT_SOCKET },
	{ "/asyncio/selector_events.py", "BaseSelectorEventLoop.sock_connect", TASK_WAIT_SOCKET },
	{ "/asyncio/selector_events.py", "BaseSelectorEventLoop.sock_recv", TASK_WAIT_SOCKET },
	{ "/asyncio/selector_events.py", "BaseSelectorEventLoop.sock_recv_into",
	  TASK_WAIT_SOCKET },
	{ "/asyncio/selector_events.py", "BaseSelectorEventLoop.sock_recvfrom", TASK_WAIT_SOCKET },
	{ "/asyncio/selector_events.py", "BaseSelectorEventLoop.sock_recvfrom_into",
	  TASK_WAIT_SOCKET },
	{ "/asyncio/selector_events.py", "BaseSelectorEventLoop.sock_sendall", TASK_WAIT_SOCKET },
	{ "/asyncio/selector_events.py", "BaseSelectorEventLoop.sock_sendto", TASK_WAIT_SOCKET },
	{ "/asyncio/base_events.py", "BaseEventLoop.getaddrinfo", TASK_WAIT_THREAD },
	{ "/asyncio/base_events.py", "BaseEventLoop.getnameinfo", TASK_WAIT_THREAD },
	{ "/asyncio/base_events.py", "Server.serve_forever", TASK_WAIT_SOCKET },
	{ "/asyncio/base_subprocess.py", "BaseSubprocessTransport._wait", TASK_WAIT_SUBPROCESS },
	{ "/asyncio/subprocess.py", "Process.wait", TASK_WAIT_SUBPROCESS },
	{ "/anyio/_backends/_asyncio.py", "AsyncIOBackend.run_sync_in_worker_thread",
	  TASK_WAIT_THREAD },
	{ "/anyio/_backends/_asyncio.py", "run_sync_in_worker_thread", TASK_WAIT_THREAD },
	{ "/anyio/_backends/_asyncio.py", "AsyncIOBackend.sleep", TASK_WAIT_TIMER },
	{ "/anyio/_backends/_asyncio.py", "TaskGroup.__aexit__", TASK_WAIT_TASK },
	{ "/anyio/_backends/_asyncio.py", "Event.wait", TASK_WAIT_EVENT },
	{ "/anyio/_backends/_asyncio.py", "Lock.acquire", TASK_WAIT_LOCK },
	{ "/anyio/_backends/_asyncio.py", "Semaphore.acquire", TASK_WAIT_LOCK },
	{ "/anyio/_backends/_asyncio.py", "CapacityLimiter.acquire", TASK_WAIT_LOCK },
	{ "/anyio/_backends/_asyncio.py", "CapacityLimiter.acquire_on_behalf_of",
	  TASK_WAIT_LOCK },
	{ "/anyio/_backends/_asyncio.py", "SocketStream.receive", TASK_WAIT_SOCKET },
	{ "/anyio/_backends/_asyncio.py", "SocketStream.send", TASK_WAIT_SOCKET },
	{ "/anyio/_backends/_asyncio.py", "AsyncIOBackend.wait_readable", TASK_WAIT_SOCKET },
	{ "/anyio/_backends/_asyncio.py", "AsyncIOBackend.wait_writable", TASK_WAIT_SOCKET },
	{ "/anyio/_backends/_asyncio.py", "Process.wait", TASK_WAIT_SUBPROCESS },
	{ "/anyio/_core/_synchronization.py", "Lock.acquire", TASK_WAIT_LOCK },
	{ "/anyio/_core/_synchronization.py", "Semaphore.acquire", TASK_WAIT_LOCK },
	{ "/anyio/_core/_synchronization.py", "Condition.wait", TASK_WAIT_LOCK },
	{ "/anyio/streams/memory.py", "MemoryObjectReceiveStream.receive", TASK_WAIT_QUEUE },
	{ "/anyio/streams/memory.py", "MemoryObjectSendStream.send", TASK_WAIT_QUEUE },
	{ "/uvicorn/protocols/http/flow_control.py", "FlowControl.drain", TASK_WAIT_SOCKET },
};

static const char *const names[] = {
#define X(id, name) name,
	TASK_WAITS(X)
#undef X
};

const char *task_wait_name(enum task_wait_kind kind)
{
	return names[kind];
}

static int row_of(const struct frame *frame)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(frame->code->qualname, rows[i].qualname) &&
		    text_ends_with(frame->code->file, rows[i].file))
			return (int)i;
	return -1;
}

bool task_lock_is_own(const struct frame *frames, size_t count, size_t acquire)
{
	for (size_t i = acquire + 1; i < count; i++) {
		const char *file = frames[i].code->file;

		if (!strstr(file, "/asyncio/") && !strstr(file, "/anyio/") &&
		    !text_ends_with(file, "/contextlib.py"))
			return frames[i].code->origin == CODE_APPLICATION;
	}
	return false;
}

bool task_wait_find(const struct task_info *task, const struct frame *frames, size_t count,
		    struct task_wait *ret_wait)
{
	const char *type = task->end_type ? task->end_type : "";
	struct task_wait wait = { .kind = TASK_WAIT_FUTURE, .detail = intern(""), .frame = count };

	if (task->state == TASK_RUNNING || task->end == TASK_END_NONE)
		return false;
	for (size_t i = 0; i < count && task->end != TASK_END_CUT; i++) {
		int row = row_of(&frames[i]);

		if (row < 0)
			break;
		wait.kind = rows[row].kind;
		wait.frame = i;
		wait.detail = frames[i].code->qualname;
	}
	*ret_wait = wait;
	if (wait.frame < count)
		return true;
	switch (task->end) {
	case TASK_END_TASK:
	case TASK_END_GATHER:
		ret_wait->kind = TASK_WAIT_TASK;
		break;
	case TASK_END_FUTURE:
		if (task->thread_call)
			ret_wait->kind = TASK_WAIT_THREAD;
		else if (task->child_count)	/* shield(), and wait_for() of 3.11 */
			ret_wait->kind = TASK_WAIT_TASK;
		else if (strcmp(type, "_asyncio.Future"))
			ret_wait->detail = type;
		break;
	default:
		ret_wait->kind = TASK_WAIT_OTHER;
		ret_wait->detail = type;
	}
	return true;
}
