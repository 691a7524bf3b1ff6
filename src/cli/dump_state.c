// SPDX-License-Identifier: Apache-2.0
/* What a thread is doing, from what the kernel and its stack say of it. */
#include <string.h>

#include "cli/dump.h"
#include "base/text.h"
#include "resolve/syscalls.h"

/* Functions of worker threads that wait for work: file suffix and function. */
static const struct {
	const char *file, *function;
} workers[] = {
	{ "/concurrent/futures/thread.py", "_worker" },
	{ "/anyio/_backends/_asyncio.py", "run" },
};

/* Frames that only wait on behalf of their caller. */
static const char *const waiting[] = { "/queue.py", "/threading.py" };

static bool only_waits(const struct frame *frame)
{
	if (frame->code->origin != CODE_STDLIB)
		return false;
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
		if (text_ends_with(frame->code->file, waiting[i]))
			return true;
	return false;
}

bool dump_waits_for_work(const struct frame *frames, size_t count)
{
	size_t at = 0;

	while (at < count && only_waits(&frames[at]))
		at++;
	if (at == count)
		return false;
	for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++)
		if (text_ends_with(frames[at].code->file, workers[i].file) &&
		    !strcmp(frames[at].code->function, workers[i].function))
			return true;
	return false;
}

static bool in_call(const struct thread_state *at, const char *prefix)
{
	const char *name = syscall_name(at->number);

	return name && !strncmp(name, prefix, strlen(prefix));
}

static bool waits_for_gil(const struct dump_facts *facts)
{
	const struct process_config *config = facts->config;
	uint64_t address = facts->at->args[0];

	return in_call(facts->at, "futex") && config->gil &&
	       address >= config->gil + config->layout.gil_cond &&
	       address < config->gil + config->layout.gil_size;
}

static bool in_selector(const struct dump_facts *facts)
{
	return facts->loop && !facts->has_task && in_call(facts->at, "epoll_") &&
	       (facts->loop->epoll_fd < 0 || facts->loop->epoll_fd == (int)facts->at->args[0]);
}

const char *dump_state(const struct dump_facts *facts)
{
	if (facts->at->state == 'R')
		return facts->ran ? "running" : "runnable";
	if (waits_for_gil(facts))
		return "gil_wait";
	if (facts->at->state == 'S' && (in_selector(facts) || facts->waits_for_work))
		return "idle";
	return "blocked";
}

bool dump_same_stack(const struct stack_record *a, const struct stack_record *b)
{
	if (a->count != b->count || a->end != b->end)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->frames[i].code != b->frames[i].code ||
		    a->frames[i].check != b->frames[i].check ||
		    (i && a->frames[i].where != b->frames[i].where))
			return false;
	return true;
}
