// SPDX-License-Identifier: Apache-2.0
#include "attribute/timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "base/vec.h"

#define READY_STEPS 2	/* what is ready runs in the next step, a task it wakes in the one after */
#define SILENT_NS (25 * NS_PER_MS)	/* a long step of its own would be in a sample */
#define UNKNOWN_NS (100 * NS_PER_MS)	/* what waits for longer is in a snapshot */
#define SELECT_NS 5000	/* a selector's call that does not wait */

static const struct {
	const char *name, *text;
} names[] = {
#define X(part, text) [PART_##part] = { #part, text },
	TIME_PARTS(X)
#undef X
};

const char *time_part_name(enum time_part part)
{
	return (unsigned)part < PART_COUNT ? names[part].name : "unknown";
}

const char *time_part_text(enum time_part part)
{
	return (unsigned)part < PART_COUNT ? names[part].text : "unknown";
}

void timeline_free(struct timeline *timeline)
{
	free(timeline->spans.items);
	memset(timeline, 0, sizeof(*timeline));
}

static int add_span(struct timeline *timeline, const struct part_span *span)
{
	struct part_span *last;
	int error;

	if (span->at.end_ns <= span->at.start_ns)
		return 0;
	last = timeline->spans.count ? &timeline->spans.items[timeline->spans.count - 1] : NULL;
	if (last && last->part == span->part && last->rest == span->rest &&
	    last->stack == span->stack && last->at.end_ns == span->at.start_ns) {
		last->at.end_ns = span->at.end_ns;
		return 0;
	}
	/* where it waited for something unknown does not push out what is known */
	if (span->part == PART_other_wait && timeline->spans.count >= TIMELINE_MAX_SPANS / 2)
		return 0;
	error = vec_grow(&timeline->spans, TIMELINE_MAX_SPANS);
	if (error) {
		timeline->lost++;
		return error == -E2BIG ? 0 : error;
	}
	timeline->spans.items[timeline->spans.count++] = *span;
	return 0;
}

static int add_rest(struct timeline *timeline, enum time_part part, uint64_t start_ns,
		    uint64_t end_ns)
{
	const struct part_span span = { .at = { start_ns, end_ns }, .part = part, .rest = true };

	return add_span(timeline, &span);
}

int timeline_add(struct timeline *timeline, enum time_part part, const struct stack *stack,
		 uint64_t start_ns, uint64_t end_ns)
{
	const struct part_span span = { .at = { start_ns, end_ns }, .part = part,
					.rest = part == PART_other_wait, .stack = stack };

	return add_span(timeline, &span);
}

void step_log_add(struct step_log *log, const struct event_step *step)
{
	size_t at = log->count++ % STEP_LOG;

	log->items[at].seq = step->seq;
	log->items[at].start_ns = step->start_ns;
	log->items[at].end_ns = step->end_ns;
	log->items[at].busy_ns = step->busy_ns - (step->end_ns - step->start_ns);
	log->items[at].pid = (pid_t)step->header.tgid;
	log->items[at].tid = (pid_t)step->header.tid;
}

void step_log_turn(struct step_log *log, const struct loop_moment *moment)
{
	size_t at = log->turn_count % TURN_LOG;

	if (!moment->own->start_ns || moment->own->start_ns >= moment->now_ns)
		return;
	log->turn_count++;
	log->turns[at].start_ns = moment->own->start_ns;
	log->turns[at].end_ns = moment->now_ns;
	log->turns[at].pid = moment->pid;
	log->turns[at].tid = moment->tid;
}

/* From the first turn to the last one that others had between `from` and `to`; empty: none. */
static struct time_span turns_of_others(const struct step_log *log,
					const struct loop_moment *moment, uint64_t from,
					uint64_t to)
{
	size_t kept = log->turn_count < TURN_LOG ? log->turn_count : TURN_LOG;
	struct time_span others = { to, from };

	for (size_t i = log->turn_count; i-- > log->turn_count - kept;) {
		size_t at = i % TURN_LOG;

		if (log->turns[at].tid != moment->tid || log->turns[at].pid != moment->pid)
			continue;
		if (log->turns[at].end_ns <= from)
			break;
		if (log->turns[at].end_ns > others.end_ns && log->turns[at].end_ns <= to)
			others.end_ns = log->turns[at].end_ns;
		if (log->turns[at].start_ns < others.start_ns)
			others.start_ns = log->turns[at].start_ns;
	}
	if (others.start_ns < from)
		others.start_ns = from;
	return others;
}

static int add_silent(struct timeline *timeline, uint64_t start, uint64_t end)
{
	if (end > start && end - start > SILENT_NS)
		return 0;
	return add_rest(timeline, PART_loop_cpu, start, end);
}

/* Did the loop wait for something, in `length` with that much on its clock and so many steps? */
static bool was_idle(uint64_t length, uint64_t busy, uint64_t steps)
{
	uint64_t idle = length > busy ? length - busy : 0;

	return idle > length / 20 && idle > steps * SELECT_NS;
}

/*
 * The loop has not been idle since it last ran for it: it ran on, or others did.
 * `ret_alone`: nobody else had the loop.
 */
static int went_on(struct timeline *timeline, const struct loop_moment *moment,
		   const struct step_log *log, bool *ret_alone)
{
	uint64_t start = timeline->ran_ns, end = moment->own->start_ns, busy;
	uint64_t ran = moment->now_ns - end;
	struct time_span others;
	int error;

	if (!start || end <= start || moment->seq < timeline->ran_seq ||
	    moment->own->busy_ns < timeline->ran_busy_ns + ran)
		return 0;
	busy = moment->own->busy_ns - ran - timeline->ran_busy_ns;
	if (was_idle(end - start, busy, moment->seq - timeline->ran_seq))
		return 0;
	others = turns_of_others(log, moment, start, end);
	*ret_alone = others.end_ns <= others.start_ns;
	if (*ret_alone)
		return add_rest(timeline, PART_loop_cpu, start, end);
	if (end - start > UNKNOWN_NS)
		return 0;
	error = add_silent(timeline, start, others.start_ns) ?:
		add_rest(timeline, PART_behind_others, others.start_ns, others.end_ns);
	return error ? error : add_silent(timeline, others.end_ns, end);
}

/* Was the loop idle between ready_ns and one of the next steps? What was ready had run. */
static bool idle_before(const struct timeline *timeline, uint64_t start_ns, uint64_t busy_ns)
{
	if (!timeline->ready_busy_ns || busy_ns < timeline->ready_busy_ns)
		return false;
	return was_idle(start_ns - timeline->ready_ns, busy_ns - timeline->ready_busy_ns,
			READY_STEPS);
}

/* End of the long steps of a loop that held up what was ready at ready_ns. */
static uint64_t held_until(const struct timeline *timeline, const struct loop_moment *moment,
			   const struct step_log *log)
{
	size_t kept = log->count < STEP_LOG ? log->count : STEP_LOG;
	uint64_t until = timeline->ready_ns, last = timeline->ready_seq + READY_STEPS;

	for (size_t i = log->count - kept; i < log->count; i++) {
		size_t at = i % STEP_LOG;
		bool before = log->items[at].start_ns <= timeline->ready_ns;

		if (log->items[at].tid != moment->tid || log->items[at].pid != moment->pid ||
		    log->items[at].end_ns <= until ||
		    log->items[at].start_ns >= moment->own->start_ns)
			continue;
		if (before && !timeline->ready_seq)
			last = log->items[at].seq + READY_STEPS;
		if (before || (log->items[at].seq <= last &&
			       !idle_before(timeline, log->items[at].start_ns,
					    log->items[at].busy_ns)))
			until = log->items[at].end_ns;
	}
	return until;
}

/* Did it run once already since it became ready, without a sign of it? */
static bool ran_before(const struct timeline *timeline, const struct loop_moment *moment,
		       uint64_t busy, uint64_t length)
{
	if (timeline->ready_seq && (moment->seq < timeline->ready_seq ||
				    moment->seq - timeline->ready_seq > READY_STEPS))
		return true;
	return busy < length / 20 * 19; /* the loop was idle meanwhile */
}

/* It was ready until its code got the loop. */
static int ready_end(struct timeline *timeline, const struct loop_moment *moment,
		     const struct step_log *log)
{
	uint64_t start = timeline->ready_ns, end = moment->own->start_ns, until = end, busy;
	uint64_t ran = moment->now_ns - end;

	timeline->ready_ns = 0;
	if (!start || end <= start)
		return 0;
	busy = moment->own->busy_ns > timeline->ready_busy_ns + ran && timeline->ready_busy_ns
		       ? moment->own->busy_ns - ran - timeline->ready_busy_ns
		       : 0;
	if (!timeline->unread && ran_before(timeline, moment, busy, end - start)) {
		timeline->ready_ns = start;
		until = held_until(timeline, moment, log);
		timeline->ready_ns = 0;
	}
	/* bytes that nobody reads while the loop is idle wait for its thread to wake up */
	if (timeline->unread && timeline->ready_busy_ns && busy < end - start) {
		int error = timeline_add(timeline, PART_cpu_wait, NULL, start + busy, end);

		if (error)
			return error;
		until = start + busy;
	}
	return timeline_add(timeline, PART_behind_others, NULL, start,
			    until < end ? until : end);
}

int timeline_own(struct timeline *timeline, const struct loop_moment *moment,
		 const struct step_log *log)
{
	const struct own_time *own = moment->own;
	bool alone = false;
	int error;

	if (!own->start_ns || own->start_ns > moment->now_ns)
		return 0;
	error = went_on(timeline, moment, log, &alone);
	/* what another task of it was woken for is over by then */
	if (alone && !timeline->unread && timeline->ready_seq &&
	    moment->seq >= timeline->ready_seq + READY_STEPS)
		timeline->ready_ns = 0;
	if (!error)
		error = ready_end(timeline, moment, log);
	timeline->ran_ns = moment->now_ns;
	timeline->ran_busy_ns = own->busy_ns;
	timeline->ran_seq = moment->seq;
	timeline->own_ns[PART_loop_cpu] += own->cpu_ns;
	timeline->own_ns[PART_loop_blocked] += own->blocked_ns;
	timeline->own_ns[PART_gil_wait] += own->gil_ns;
	timeline->own_ns[PART_cpu_wait] += own->runnable_ns;
	return error ? error
		     : timeline_add(timeline, PART_loop_cpu, NULL, own->start_ns, moment->now_ns);
}

int timeline_left(struct timeline *timeline, pid_t pid, pid_t tid, uint64_t at_ns,
		  const struct step_log *log)
{
	struct own_time at = { .start_ns = at_ns };
	struct loop_moment moment = { pid, tid, at_ns, 0, &at };

	timeline->ran_ns = 0;
	return ready_end(timeline, &moment, log);
}

void timeline_ready(struct timeline *timeline, uint64_t since_ns, uint64_t busy_ns, uint64_t seq,
		    bool unread)
{
	if (timeline->ready_ns)
		return; /* since before */
	timeline->ready_ns = since_ns;
	timeline->ready_busy_ns = busy_ns;
	timeline->ready_seq = seq;
	timeline->unread = unread;
}

void timeline_forget(struct timeline *timeline, enum time_part part)
{
	size_t kept = 0;

	for (size_t i = 0; i < timeline->spans.count; i++)
		if (timeline->spans.items[i].part != part)
			timeline->spans.items[kept++] = timeline->spans.items[i];
	timeline->spans.count = kept;
}

int timeline_merge(struct timeline *timeline, struct timeline *from)
{
	for (size_t i = 0; i < from->spans.count; i++) {
		int error = add_span(timeline, &from->spans.items[i]);

		if (error)
			return error;
	}
	for (unsigned i = 0; i < PARTS_OWN; i++)
		timeline->own_ns[i] += from->own_ns[i];
	timeline->lost += from->lost;
	if (from->ready_ns > timeline->ready_ns) {
		timeline->ready_ns = from->ready_ns;
		timeline->ready_busy_ns = from->ready_busy_ns;
		timeline->ready_seq = from->ready_seq;
		timeline->unread = from->unread;
	}
	if (from->ran_ns > timeline->ran_ns) {
		timeline->ran_ns = from->ran_ns;
		timeline->ran_busy_ns = from->ran_busy_ns;
		timeline->ran_seq = from->ran_seq;
	}
	from->spans.count = 0;
	return 0;
}

struct edge {
	uint64_t at;
	unsigned part;	/* of what is known, or PART_COUNT more: of the rest */
	int change;	/* +1 begins, -1 ends */
};

static int by_time(const void *a, const void *b)
{
	const struct edge *one = a, *other = b;

	return one->at < other->at ? -1 : one->at > other->at;
}

/* Begin and end of each span, cut to start..end and sorted. */
static size_t edges_of(const struct timeline *timeline, uint64_t start, uint64_t end,
		       struct edge *edges)
{
	size_t count = 0;

	for (size_t i = 0; i < timeline->spans.count; i++) {
		const struct part_span *span = &timeline->spans.items[i];
		uint64_t from = span->at.start_ns > start ? span->at.start_ns : start;
		uint64_t to = span->at.end_ns < end ? span->at.end_ns : end;
		unsigned part;

		if (to <= from)
			continue;
		part = span->part + (span->rest ? PART_COUNT : 0);
		edges[count++] = (struct edge){ from, part, 1 };
		edges[count++] = (struct edge){ to, part, -1 };
	}
	qsort(edges, count, sizeof(*edges), by_time);
	return count;
}

static unsigned first_of(const int active[2 * PART_COUNT])
{
	for (unsigned part = 0; part < 2 * PART_COUNT; part++)
		if (active[part] > 0)
			return part;
	return PART_other_wait;
}

static void behind_add(struct timeline_parts *parts, uint64_t start, uint64_t end)
{
	struct time_span *last = parts->behind_count ? &parts->behind[parts->behind_count - 1]
						     : NULL;

	if (last && last->end_ns == start)
		last->end_ns = end;
	else if (parts->behind_count < TIMELINE_BEHIND)
		parts->behind[parts->behind_count++] = (struct time_span){ start, end };
}

/*
 * Of the places it waited in for `part` at a moment the one that it came to last; else of
 * those it waited in for something else: a task waits for its thread before that runs.
 */
static const struct stack *stack_at(const struct timeline *timeline, enum time_part part,
				    uint64_t at)
{
	const struct part_span *best = NULL;

	for (size_t i = 0; i < timeline->spans.count; i++) {
		const struct part_span *span = &timeline->spans.items[i];

		if (!span->stack || span->at.start_ns > at || span->at.end_ns <= at)
			continue;
		if (!best || (span->part == part) > (best->part == part) ||
		    ((span->part == part) == (best->part == part) &&
		     span->at.start_ns >= best->at.start_ns))
			best = span;
	}
	return best ? best->stack : NULL;
}

static void await_add(struct timeline_parts *parts, enum time_part part,
		      const struct stack *stack, uint64_t ns)
{
	size_t i = 0;

	while (i < parts->await_count &&
	       (parts->awaits[i].part != part || parts->awaits[i].stack != stack))
		i++;
	/* there is room left for those of no place */
	if (i >= TIMELINE_AWAITS && i == parts->await_count && stack) {
		await_add(parts, part, NULL, ns);
		return;
	}
	if (i == parts->await_count)
		parts->awaits[parts->await_count++] = (struct await_time){ part, stack, 0 };
	parts->awaits[i].ns += ns;
}

/*
 * The time in which its code had the loop, split as the probes measured it: what they
 * did not see of it like the rest, but for calls that block, which they would have.
 */
static void split_own(const struct timeline *timeline, bool seen, uint64_t parts[PART_COUNT])
{
	uint64_t own = parts[PART_loop_cpu], sum = 0, rest = own;

	for (unsigned i = 0; i < PARTS_OWN; i++)
		sum += seen || i != PART_loop_blocked ? timeline->own_ns[i] : 0;
	if (!sum)
		return;
	for (unsigned i = 1; i < PARTS_OWN; i++) {
		uint64_t part = (uint64_t)((unsigned __int128)own * timeline->own_ns[i] / sum);

		if (!seen && i == PART_loop_blocked)
			continue;
		if (part > rest)
			part = rest;
		parts[i] += part;
		rest -= part;
	}
	parts[PART_loop_cpu] = rest;
}

int timeline_split(const struct timeline *timeline, uint64_t start_ns, uint64_t end_ns,
		   struct timeline_parts *ret_parts)
{
	uint64_t at = start_ns, rest[PART_COUNT] = { 0 };
	int active[2 * PART_COUNT] = { 0 };
	struct edge *edges;
	size_t count;

	memset(ret_parts->ns, 0, sizeof(ret_parts->ns));
	ret_parts->behind_count = ret_parts->await_count = 0;
	if (end_ns <= start_ns)
		return 0;
	edges = calloc(timeline->spans.count * 2 + 1, sizeof(*edges));
	if (!edges)
		return -ENOMEM;
	count = edges_of(timeline, start_ns, end_ns, edges);
	edges[count] = (struct edge){ end_ns, PART_other_wait, 0 };
	for (size_t i = 0; i <= count; i++) {
		if (edges[i].at > at) {
			unsigned first = first_of(active), part = first % PART_COUNT;

			if (first >= PART_COUNT)
				rest[part] += edges[i].at - at;
			else
				ret_parts->ns[part] += edges[i].at - at;
			if (first == PART_behind_others)
				behind_add(ret_parts, at, edges[i].at);
			else if (time_part_waits(part))
				await_add(ret_parts, part, stack_at(timeline, part, at),
					  edges[i].at - at);
			at = edges[i].at;
		}
		active[edges[i].part] += edges[i].change;
	}
	free(edges);
	split_own(timeline, true, ret_parts->ns);
	split_own(timeline, false, rest);
	for (unsigned part = 0; part < PART_COUNT; part++)
		ret_parts->ns[part] += rest[part];
	return 0;
}
