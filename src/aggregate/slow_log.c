// SPDX-License-Identifier: Apache-2.0
#include "aggregate/slow_log.h"

#include <stdlib.h>
#include <string.h>

static void add_cause(struct slow_log *log, struct slow_slot *slot, const struct slow_cause *cause)
{
	struct slow_cause *to = NULL, *least = &slot->causes[0];

	for (size_t i = 0; i < slot->cause_count && !to; i++) {
		if (slot->causes[i].kind == cause->kind && slot->causes[i].of == cause->of)
			to = &slot->causes[i];
		if (slot->causes[i].ns < least->ns)
			least = &slot->causes[i];
	}
	if (to) {
		to->ns += cause->ns;
	} else if (slot->cause_count < SLOW_CAUSES) {
		slot->causes[slot->cause_count++] = *cause;
	} else {
		log->lost++;
		if (cause->ns > least->ns)
			*least = *cause;
	}
}

static void merge(struct slow_log *log, struct slow_slot *to, const struct slow_slot *from)
{
	to->requests += from->requests;
	for (unsigned i = 0; i < LOSS_COUNT; i++) {
		to->losses[i].ns += from->losses[i].ns;
		to->losses[i].requests += from->losses[i].requests;
		if (from->losses[i].max_ns > to->losses[i].max_ns)
			to->losses[i].max_ns = from->losses[i].max_ns;
	}
	for (size_t i = 0; i < from->cause_count; i++)
		add_cause(log, to, &from->causes[i]);
}

/* Two slots become one. */
static void halve(struct slow_log *log)
{
	for (size_t i = 0; i < SLOW_SLOTS / 2; i++) {
		if (i)
			log->slots[i] = log->slots[2 * i];
		merge(log, &log->slots[i], &log->slots[2 * i + 1]);
	}
	memset(&log->slots[SLOW_SLOTS / 2], 0, SLOW_SLOTS / 2 * sizeof(*log->slots));
	log->slot_ns *= 2;
}

/* The slot of a moment, for which there is room then; SLOW_SLOTS: no memory. */
static size_t slot_of(struct slow_log *log, uint64_t time_ns)
{
	uint64_t since = time_ns > log->start_ns ? time_ns - log->start_ns : 0;

	if (!log->slots) {
		log->slots = calloc(SLOW_SLOTS, sizeof(*log->slots));
		log->slot_ns = SLOW_SLOT_NS;
	}
	if (!log->slots) {
		log->lost++;
		return SLOW_SLOTS;
	}
	while (since / log->slot_ns >= SLOW_SLOTS)
		halve(log);
	return since / log->slot_ns;
}

/* The share of `ns` that falls into a slot when it is spread evenly from start to end. */
static uint64_t share(const struct slow_log *log, size_t slot, const struct time_span *at,
		      uint64_t ns)
{
	uint64_t begin = log->start_ns + slot * log->slot_ns, end = begin + log->slot_ns;
	uint64_t length = at->end_ns - at->start_ns;

	/* what began before the first slot is in that */
	if (at->start_ns > begin || !slot)
		begin = at->start_ns;
	if (at->end_ns < end)
		end = at->end_ns;
	if (!length || end - begin >= length)
		return ns;
	return (uint64_t)((double)ns * (double)(end - begin) / (double)length);
}

static void spread_loss(struct slow_log *log, const struct served_request *request,
			enum slow_loss loss, uint64_t ns)
{
	const struct time_span at = { request->start_ns, request->end_ns };
	uint64_t latency = request->end_ns - request->start_ns;
	size_t last = slot_of(log, at.end_ns), first;

	if (ns < log->least_ns[loss] || last == SLOW_SLOTS)
		return;
	first = slot_of(log, at.start_ns);
	for (size_t i = first; i <= last; i++)
		log->slots[i].losses[loss].ns += share(log, i, &at, ns);
	log->slots[last].losses[loss].requests++;
	if (latency > log->slots[last].losses[loss].max_ns)
		log->slots[last].losses[loss].max_ns = latency;
}

void slow_log_request(struct slow_log *log, const struct served_request *request)
{
	const uint64_t *parts = request->parts;
	size_t slot = slot_of(log, request->end_ns);

	/* the length of a session is nobody's latency */
	if (slot == SLOW_SLOTS || request->websocket)
		return;
	log->slots[slot].requests++;
	spread_loss(log, request, LOSS_LOOP,
		    parts[PART_loop_cpu] + parts[PART_loop_blocked] + parts[PART_gil_wait] +
			    parts[PART_cpu_wait] + parts[PART_behind_others]);
	spread_loss(log, request, LOSS_POOL, parts[PART_pool_wait]);
	spread_loss(log, request, LOSS_THREADS, parts[PART_thread_queue]);
	spread_loss(log, request, LOSS_PEER, parts[PART_dependency_wait]);
	spread_loss(log, request, LOSS_OTHER, parts[PART_other_wait]);
}

void slow_log_callable(struct slow_log *log, const void *callable,
		       const struct served_request *request, uint64_t ns)
{
	const struct time_span at = { request->start_ns, request->end_ns };

	if (!log)
		return;
	slow_log_cause(log, CAUSE_CALLABLE, callable, &at, ns);
	/* else its wait for a peer is there already */
	if (request->parts[PART_dependency_wait] < log->least_ns[LOSS_PEER])
		spread_loss(log, request, LOSS_PEER, ns);
}

void slow_log_cause(struct slow_log *log, enum slow_cause_kind kind, const void *of,
		    const struct time_span *at, uint64_t ns)
{
	struct slow_cause cause = { .kind = kind, .of = of };
	size_t first, last;

	if (!log || !ns || at->end_ns < at->start_ns)
		return;
	last = slot_of(log, at->end_ns);
	if (last == SLOW_SLOTS)
		return;
	first = slot_of(log, at->start_ns);
	for (size_t i = first; i <= last; i++) {
		cause.ns = share(log, i, at, ns);
		if (cause.ns)
			add_cause(log, &log->slots[i], &cause);
	}
}

void slow_log_free(struct slow_log *log)
{
	free(log->slots);
	memset(log, 0, sizeof(*log));
}
