// SPDX-License-Identifier: Apache-2.0
/* Requests that go on: found by identity, joined with their connection, handed on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/tracker_internal.h"
#include "base/units.h"
#include "base/vec.h"

#define THREAD_SEEN_NS (25 * NS_PER_MS)	/* how much longer it may have run, about two looks */

struct open_request *request_new(pid_t pid)
{
	struct open_request *request = calloc(1, sizeof(*request));

	if (request)
		request->pid = pid;
	return request;
}

static void request_free(struct open_request *request)
{
	timeline_free(&request->timeline);
	free(request->callables.items);
	free(request->peers.items);
	free(request->sites);
	free(request);
}

void request_drop(struct tracker *tracker, struct open_request *request)
{
	if (request->identity)
		HASH_DEL(tracker->requests, request);
	if (!request->connection && request->identity)
		tracker->orphans--;
	request_free(request);
}

/* The oldest request without a connection goes: background work goes on for long. */
static void forget_orphan(struct tracker *tracker)
{
	struct open_request *request, *next;

	HASH_ITER(hh, tracker->requests, request, next) {
		if (request->connection)
			continue;
		request_drop(tracker, request);
		tracker->counts.forgotten++;
		return;
	}
}

/*
 * What a request does after its response was sent belongs to no connection, and nothing
 * tells of its end: it is over when it is not seen any more.
 */
static void forget_old_orphans(struct tracker *tracker)
{
	struct open_request *request, *next;

	if (tracker->now_ns - tracker->orphans_ns < NS_PER_S)
		return;
	tracker->orphans_ns = tracker->now_ns;
	HASH_ITER(hh, tracker->requests, request, next) {
		if (!request->connection && tracker->now_ns - request->seen_ns > ORPHAN_NS)
			request_drop(tracker, request);
	}
}

struct open_request *request_of(struct tracker *tracker, const struct activity *activity)
{
	struct open_request *request;

	if (!activity || !activity->request)
		return NULL;
	HASH_FIND(hh, tracker->requests, &activity->request, sizeof(activity->request), request);
	if (request) {
		request->seen_ns = tracker->now_ns;
		return request;
	}
	if (activity->client_port) {
		request = served_request_of(tracker, activity);
		if (request && !request_join(tracker, request, activity))
			return request;
	}
	forget_old_orphans(tracker);
	if (tracker->orphans >= MAX_ORPHANS)
		forget_orphan(tracker);
	request = request_new(activity->pid);
	if (!request)
		return NULL;
	request->identity = activity->request;
	request->client_port = activity->client_port;
	request->route = activity->route;
	request->websocket = activity->websocket;
	request->seen_ns = tracker->now_ns;
	HASH_ADD(hh, tracker->requests, identity, sizeof(request->identity), request);
	tracker->orphans++;
	return request;
}

/*
 * Moves what an orphan knows to the request it turned out to be.  All of that is known by
 * identity: the request has none yet, and nothing of it.
 */
static int take_orphan(struct tracker *tracker, struct open_request *request,
		       struct open_request *orphan)
{
	int error = timeline_merge(&request->timeline, &orphan->timeline);

	/* what it was only ever seen to wait for it began to when the request ran last */
	if (!orphan->wait_from_ns && request->wait_from_ns) {
		if (orphan->wait_seen_ns)
			orphan->wait_start_ns = request->wait_from_ns;
		if (orphan->pool_wait.look.pool)
			orphan->pool_wait.start_ns = request->wait_from_ns;
	}
	if (request->wait_from_ns < orphan->wait_from_ns)
		request->wait_from_ns = orphan->wait_from_ns;
	request->wait = orphan->wait;
	request->wait_start_ns = orphan->wait_start_ns;
	request->wait_seen_ns = orphan->wait_seen_ns;
	request->in_thread = orphan->in_thread;
	request->worked_ns = orphan->worked_ns;
	request->pool_wait = orphan->pool_wait;
	request->thread_waits = orphan->thread_waits;
	request->peers = orphan->peers;
	request->sites = orphan->sites;
	request->site_count = orphan->site_count;
	request->site_capacity = orphan->site_capacity;
	request->callables = orphan->callables;
	orphan->peers.items = NULL;
	orphan->sites = NULL;
	orphan->callables.items = NULL;
	request_drop(tracker, orphan);
	return error;
}

/* `orphan` is what is known of that identity already, NULL: nothing. */
static int identify(struct tracker *tracker, struct open_request *request, uint64_t identity,
		    struct open_request *orphan)
{
	int error = orphan ? take_orphan(tracker, request, orphan) : 0;

	request->identity = identity;
	HASH_ADD(hh, tracker->requests, identity, sizeof(request->identity), request);
	return error;
}

int request_join(struct tracker *tracker, struct open_request *request,
		 const struct activity *activity)
{
	struct open_request *orphan = NULL;

	/* the request line has the path, and may know better */
	if (activity->route.route && !(activity->route.ambiguous && request->method[0]))
		request->route = activity->route;
	if (!activity->request || request->identity)
		return 0;
	HASH_FIND(hh, tracker->requests, &activity->request, sizeof(activity->request), orphan);
	if (orphan && orphan->connection)
		return 0; /* it is another one already: leave both as they are */
	return identify(tracker, request, activity->request, orphan);
}

int request_adopt(struct tracker *tracker, struct open_request *request, uint16_t client_port)
{
	struct open_request *orphan, *next;

	HASH_ITER(hh, tracker->requests, orphan, next) {
		if (orphan->connection || orphan->pid != request->pid || !client_port ||
		    orphan->client_port != client_port)
			continue;
		request->route = orphan->route;
		return identify(tracker, request, orphan->identity, orphan);
	}
	return 0;
}

int request_callable(struct open_request *request, uint64_t code, const struct place *line,
		     bool middleware, bool exact, bool blamed, uint64_t ns)
{
	struct seen_callable *seen = NULL;
	int error;

	for (size_t i = 0; i < request->callables.count && !seen; i++)
		if (request->callables.items[i].code == code)
			seen = &request->callables.items[i];
	if (!seen) {
		error = vec_grow(&request->callables, MAX_CALLABLES);
		if (error)
			return error == -E2BIG ? 0 : error;
		seen = &request->callables.items[request->callables.count++];
		*seen = (struct seen_callable){ .code = code, .middleware = middleware };
	}
	seen->exact |= exact;
	seen->total_ns += ns;
	seen->blamed_ns += blamed ? ns : 0;
	if (line && ns > seen->place_ns) {
		seen->place = *line;
		seen->place_ns = ns;
	}
	return 0;
}

int request_thread_left(struct tracker *tracker, struct open_request *request, uint64_t until)
{
	uint64_t code = request->in_thread.code, start = request->in_thread.from_ns;
	const struct place *place = &request->in_thread.place;

	request->in_thread.code = 0;
	if (until > request->in_thread.seen_ns + THREAD_SEEN_NS)
		until = request->in_thread.seen_ns + THREAD_SEEN_NS;
	if (start < request->worked_ns)
		start = request->worked_ns;
	if (!code || until <= start)
		return 0;
	request->worked_ns = until;
	return timeline_add(&request->timeline, PART_thread_run,
			    stack_of_place(tracker->stacks, place), start, until)
		       ?: request_callable(request, code, place, false, false, true, until - start);
}

/* What it was last seen to wait for lasted until `end_ns`. */
static int wait_end(struct tracker *tracker, struct open_request *request, uint64_t end_ns)
{
	const struct request_wait *wait = &request->wait;
	uint64_t start = request->wait_start_ns;
	/* queued or short of a connection it is not the callable's time */
	bool blamed = wait->part != PART_pool_wait && wait->part != PART_thread_queue &&
		      wait->part != PART_client_wait;
	int error = 0;

	request->wait_start_ns = request->wait_seen_ns = 0;
	if (!start || end_ns <= start)
		return 0;
	if (request->in_thread.seen_ns < end_ns)
		error = request_thread_left(tracker, request, end_ns);
	for (size_t i = 0; i < wait->callable_count && !error; i++)
		error = request_callable(request, wait->callables[i].code,
					 &wait->callables[i].place,
					 wait->callables[i].middleware, false,
					 blamed && wait->callables[i].innermost, end_ns - start);
	if (!error)
		error = timeline_add(&request->timeline, wait->part, wait->stack, start, end_ns);
	return error;
}

int request_ran(struct tracker *tracker, struct open_request *request,
		const struct loop_moment *moment)
{
	int error = 0;

	if (moment->own->start_ns) {
		error = wait_end(tracker, request, moment->own->start_ns);
		pool_wait_ran(request, moment->own->start_ns);
	}
	request->wait_from_ns = moment->now_ns;
	return error ? error : timeline_own(&request->timeline, moment, &tracker->steps);
}

int tracker_wait(struct tracker *tracker, const struct activity *activity,
		 const struct request_wait *wait, uint64_t now)
{
	struct open_request *request = request_of(tracker, activity);
	int error = 0;

	if (!request || now <= request->wait_from_ns)
		return 0;
	if (request->wait_seen_ns && (!wait || wait->mark != request->wait.mark)) {
		/* it changed between the two looks */
		uint64_t between = request->wait_seen_ns + (now - request->wait_seen_ns) / 2;

		error = wait_end(tracker, request, between);
		request->wait_from_ns = between;
	}
	if (!wait) {
		request->wait_from_ns = now;
		return error;
	}
	if (!request->wait_seen_ns)
		request->wait_start_ns = request->wait_from_ns ? request->wait_from_ns : now;
	request->wait = *wait;
	request->wait_seen_ns = now;
	if (!wait->in_thread.code)
		return error;
	if (request->in_thread.code != wait->in_thread.code)
		request->in_thread.from_ns = request->wait_start_ns;
	request->in_thread.code = wait->in_thread.code;
	request->in_thread.place = wait->in_thread.place;
	request->in_thread.seen_ns = now;
	return error;
}

static const struct seen_callable *seen_of(const struct open_request *request, uint64_t code)
{
	for (size_t i = 0; code && i < request->callables.count; i++)
		if (request->callables.items[i].code == code)
			return &request->callables.items[i];
	return NULL;
}

static void take_seen(struct callable_time *to, const struct seen_callable *seen)
{
	if (!seen)
		return;
	to->place = seen->place;
	to->own_ns = seen->total_ns;
	to->blamed_ns = seen->blamed_ns;
	to->exact = seen->exact;
}

/* Adds to each what was executed because of it. */
static void add_below(struct callable_time *callables, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct dependant *it = callables[i].dependant;

		callables[i].total_ns = callables[i].own_ns;
		for (size_t k = 0; it && k < count; k++)
			if (callables[k].dependant && it->below[k])
				callables[i].total_ns += callables[k].own_ns * it->below[k] /
							 callables[k].executions;
	}
}

/* The callables of its route, and the middleware that it was seen in. */
static size_t callables_of(const struct open_request *request, struct callable_time *callables,
			   size_t room)
{
	const struct dependants *injected = request->route.injected;
	size_t count = 0;

	for (size_t i = 0; injected && i < injected->count && count < room; i++) {
		callables[count] = (struct callable_time){
			.dependant = &injected->items[i],
			.executions = injected->items[i].executions };
		take_seen(&callables[count++], seen_of(request, injected->items[i].code));
	}
	for (size_t i = 0; i < request->callables.count && count < room; i++) {
		if (!request->callables.items[i].middleware)
			continue;
		callables[count] = (struct callable_time){ .executions = 1 };
		take_seen(&callables[count++], &request->callables.items[i]);
	}
	add_below(callables, count);
	return count;
}

void request_end(struct tracker *tracker, struct open_request *request, uint64_t end_ns,
		 bool aborted, bool ongoing)
{
	struct callable_time callables[MAX_CALLABLES];
	struct timeline_parts parts;
	struct served_request served = {
		.pid = request->pid, .tid = request->tid, .identity = request->identity,
		.route = request->route, .status = request->status,
		.websocket = request->websocket, .aborted = aborted, .ongoing = ongoing,
		.arrival_unknown = request->arrival_unknown,
		.from_read = request->from_read, .start_ns = request->start_ns,
		.first_byte_ns = request->first_byte_ns, .end_ns = end_ns,
		.messages_in = request->messages_in, .messages_out = request->messages_out,
	};

	peers_settle(tracker, request, end_ns);
	pool_wait_end(tracker, request, end_ns, ongoing);
	if (ongoing)
		wait_end(tracker, request, end_ns);
	served.callables = callables;
	served.callable_count = callables_of(request, callables, MAX_CALLABLES);
	served.sites = request->sites;
	served.site_count = request->site_count;
	/* what was ready when it ended, or when the window did, waits until then */
	if (ongoing && request->timeline.ready_ns && request->timeline.unread)
		timeline_add(&request->timeline, PART_behind_others, NULL,
			     request->timeline.ready_ns, end_ns);
	/* the steps that held it up may have been its own */
	if (request->from_read && !request->identity)
		timeline_forget(&request->timeline, PART_behind_others);
	if (timeline_split(&request->timeline, request->start_ns, end_ns, &parts))
		tracker->counts.forgotten++;
	memcpy(served.parts, parts.ns, sizeof(served.parts));
	served.behind = parts.behind;
	served.behind_count = parts.behind_count;
	served.awaits = parts.awaits;
	served.await_count = parts.await_count;
	tracker->counts.forgotten += request->timeline.lost;
	tracker->sink.on_request(tracker->sink.context, &served);
	request_drop(tracker, request);
}

static bool same_site(const struct site_calls *site, const struct call_origin *origin,
		      const char *peer, const struct peer_call *call)
{
	return site->culprit.file == origin->culprit.file &&
	       site->culprit.line == origin->culprit.line &&
	       site->culprit.qualname == origin->culprit.qualname && site->peer == peer &&
	       site->shape == call->shape && site->statement == call->statement;
}

void request_message(struct tracker *tracker, struct open_request *request, bool in,
		     uint64_t now)
{
	if (in) {
		request->messages_in++;
		request->message_ns = request->wait_from_ns = now;
		return;
	}
	request->messages_out++;
	request->message_ns = 0;
	pool_wait_ran(request, now);
	pool_wait_end(tracker, request, now, false);
}

/* A websocket is open for long: what it does for one message is alike a request. */
static void note_message(struct site_calls *site, uint64_t number, const struct peer_call *call)
{
	if (site->message.number != number || !site->message.count) {
		site->message.number = number;
		site->message.first_ns = call->start_ns;
		site->message.count = 0;
	}
	if (++site->message.count < site->count)
		return;
	site->count = site->message.count;
	site->first_ns = site->message.first_ns;
	site->last_ns = call->end_ns;
}

void request_site(struct tracker *tracker, struct open_request *request,
		  const struct call_origin *origin, const char *peer, const struct peer_call *call)
{
	struct site_calls *site = NULL;

	for (size_t i = 0; i < request->site_count && !site; i++)
		if (same_site(&request->sites[i], origin, peer, call))
			site = &request->sites[i];
	if (!site) {
		if (vec_reserve((void **)&request->sites, &request->site_capacity,
				request->site_count + 1, sizeof(*request->sites), MAX_SITES)) {
			tracker->counts.forgotten++;
			return;
		}
		site = &request->sites[request->site_count++];
		*site = (struct site_calls){ .culprit = origin->culprit,
					     .library = origin->library, .peer = peer,
					     .shape = call->shape,
					     .statement = call->statement,
					     .first_ns = call->start_ns };
	}
	site->pages += call->page;
	if (request->websocket) {
		note_message(site, request->messages_in + request->messages_out, call);
		return;
	}
	site->count++;
	if (call->start_ns < site->first_ns)
		site->first_ns = call->start_ns;
	if (call->end_ns > site->last_ns)
		site->last_ns = call->end_ns;
}
