// SPDX-License-Identifier: Apache-2.0
#include "attribute/pool_wait.h"

#include "attribute/tracker_internal.h"

void pool_wait_ran(struct open_request *request, uint64_t at)
{
	struct open_pool_wait *wait = &request->pool_wait;

	/* another of its tasks may have had the loop: the next look tells */
	if (wait->look.pool && !wait->ran_ns && at > wait->seen_ns)
		wait->ran_ns = at;
}

void pool_wait_used(struct open_request *request)
{
	if (request->pool_wait.ran_ns)
		request->pool_wait.used = true;
}

uint64_t pool_wait_known_until(const struct open_request *request)
{
	const struct open_pool_wait *wait = &request->pool_wait;

	return wait->look.pool ? wait->seen_ns : wait->before_ns;
}

uint64_t pool_wait_queued_until(const struct open_request *request)
{
	const struct open_pool_wait *wait = &request->pool_wait;

	return wait->look.pool && !wait->look.thread ? wait->seen_ns : 0;
}

void pool_wait_end(struct tracker *tracker, struct open_request *request, uint64_t end,
		   bool ongoing)
{
	struct open_pool_wait *wait = &request->pool_wait;
	struct pool_wait done = {
		.pid = request->pid, .pool = wait->look.pool, .route = request->route,
		.site = wait->look.site, .start_ns = wait->start_ns, .end_ns = end,
		.seen = wait->seen, .full = wait->full,
		.again = wait->before == wait->look.pool, .ongoing = ongoing && !wait->ran_ns,
	};

	if (!wait->look.pool)
		return;
	if (wait->ran_ns)
		done.end_ns = wait->ran_ns;
	else if (wait->left_ns)
		done.end_ns = wait->left_ns;
	if (wait->look.thread && request->thread_waits.count < POOL_THREAD_WAITS) {
		size_t at = request->thread_waits.count++;

		request->thread_waits.items[at].at = (struct time_span){ done.start_ns,
									 done.end_ns };
		request->thread_waits.items[at].site = wait->look.site;
	}
	*wait = (struct open_pool_wait){ .before = wait->look.pool, .before_ns = wait->seen_ns };
	if (done.end_ns > done.start_ns && tracker->sink.on_pool_wait)
		tracker->sink.on_pool_wait(tracker->sink.context, &done);
}

int pool_wait_thread_done(struct tracker *tracker, struct open_request *request,
			  const struct place *what, uint64_t start, uint64_t end)
{
	const struct stack *runs = stack_of_place(tracker->stacks, what);
	const struct open_pool_wait *open = &request->pool_wait;
	struct thread_waits *waits = &request->thread_waits;
	struct timeline *timeline = &request->timeline;
	int error = 0;

	/* it had what it waited for since some time after the last look */
	if (open->look.thread && end > open->seen_ns)
		pool_wait_end(tracker, request, open->seen_ns + (end - open->seen_ns) / 2, false);
	for (size_t i = 0; i < waits->count && !error; i++) {
		struct time_span wait = waits->items[i].at;

		if (wait.start_ns < start)
			wait.start_ns = start;
		if (wait.end_ns > end)
			wait.end_ns = end;
		if (wait.start_ns >= wait.end_ns)
			continue;
		error = timeline_add(timeline, PART_thread_run, runs, start, wait.start_ns) ?:
			timeline_add(timeline, PART_pool_wait,
				     stack_of_place(tracker->stacks, &waits->items[i].site),
				     wait.start_ns, wait.end_ns);
		start = wait.end_ns;
	}
	waits->count = 0;
	return error ? error : timeline_add(timeline, PART_thread_run, runs, start, end);
}

/*
 * Else it got it between the two looks.  Some go on to wait when somebody else was
 * quicker: another future of the same call, without having used one meanwhile.
 */
static bool goes_on(const struct open_pool_wait *wait, const struct pool_look *look)
{
	return look->pool == wait->look.pool && look->call == wait->look.call &&
	       (look->future == wait->look.future || !wait->used);
}

void tracker_pool_wait(struct tracker *tracker, const struct activity *activity,
		       const struct pool_look *look, uint64_t now)
{
	struct open_request *request = request_of(tracker, activity);
	struct open_pool_wait *wait;
	uint64_t from;

	if (!request || now <= request->wait_from_ns)
		return;
	wait = &request->pool_wait;
	/* somebody else may be quicker again: the next look tells */
	if (wait->look.pool && !look->pool && look->ready) {
		if (!wait->left_ns)
			wait->left_ns = wait->seen_ns + (now - wait->seen_ns) / 2;
		return;
	}
	if (wait->look.pool && !goes_on(wait, look))
		pool_wait_end(tracker, request, wait->seen_ns + (now - wait->seen_ns) / 2, false);
	if (!look->pool)
		return;
	from = request->wait_from_ns ? request->wait_from_ns : request->start_ns;
	if (!wait->look.pool) {
		if (look->since_ns > from)
			from = look->since_ns;
		wait->start_ns = from && from < now ? from : now;
		wait->look = *look;
	}
	/* of whom a library's own thread waits for may be known from the second look on */
	if (!wait->look.site.file)
		wait->look.site = look->site;
	wait->look.future = look->future;
	wait->seen_ns = now;
	wait->ran_ns = wait->left_ns = 0;
	wait->used = false;
	wait->seen++;
	wait->full += look->full;
}
