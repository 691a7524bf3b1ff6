// SPDX-License-Identifier: Apache-2.0
/* What it was that made requests slow, for each interval. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "detect/detect.h"
#include "detect/summary.h"

/* what comes back within so long is one incident, not several */
#define BRIDGE_NS (3 * NS_PER_S)

/* Of one slot. */
struct judging {
	const struct detect_input *input;
	const struct report *report;
	const struct slow_slot *slot;
	uint64_t loop_ns;	/* of all loops together, in this slot */
};

static const struct pool_row *row_of(const struct window *window, const struct pool_site *site)
{
	for (size_t i = 0; i < window->pools.count; i++) {
		const struct pool_row *row = window->pools.items[i];

		if (site >= row->sites && site < row->sites + POOL_SITES)
			return row;
	}
	return NULL;
}

static bool is_of_group(const struct window *window, const struct finding *finding,
			const struct group *group)
{
	return finding->group >= 0 && window->groups[finding->group] == group;
}

/* Was the finding made of this? */
static bool is_of(const struct window *window, const struct finding *finding,
		  const struct slow_cause *cause)
{
	const struct dependency_row *peer = cause->of;
	const struct callable_row *callable = cause->of;
	const struct pool_row *pool;

	switch (cause->kind) {
	case CAUSE_GROUP:
		return is_of_group(window, finding, cause->of);
	case CAUSE_GIL:
		return finding->kind == FINDING_gil_contention &&
		       (!cause->of || is_of_group(window, finding, cause->of));
	case CAUSE_STARVED:
		return finding->kind == FINDING_cpu_starvation;
	case CAUSE_SATURATED:
		return finding->kind == FINDING_loop_saturated;
	case CAUSE_POOL:
	case CAUSE_THREADS:
		pool = row_of(window, cause->of);
		return pool && finding_is_of_site(finding, pool, cause->of);
	case CAUSE_PEER:
		return finding->kind == FINDING_slow_dependency && finding->peer == peer->peer &&
		       finding->route == peer->route && finding->method == peer->method &&
		       place_same(&finding->culprit, &peer->culprit);
	case CAUSE_CALLABLE:
		return finding->kind == FINDING_slow_di_dependency &&
		       finding->detail == callable->name && finding->route == callable->route &&
		       finding->method == callable->method;
	}
	return false;
}

static int32_t finding_of(const struct judging *of, const struct slow_cause *cause)
{
	for (size_t i = 0; i < of->report->finding_count; i++)
		if (is_of(of->input->window, &of->report->findings[i], cause))
			return (int32_t)i;
	return -1;
}

static enum slow_loss loss_by(enum slow_cause_kind kind)
{
	switch (kind) {
	case CAUSE_POOL:
		return LOSS_POOL;
	case CAUSE_THREADS:
		return LOSS_THREADS;
	case CAUSE_PEER:
	case CAUSE_CALLABLE:
		return LOSS_PEER;
	default:
		return LOSS_LOOP;
	}
}

/* A callable that waits for a slow peer is slow by that. */
static bool explains_more(const struct slow_cause *cause, const struct slow_cause *than)
{
	if (!than)
		return true;
	if ((cause->kind == CAUSE_CALLABLE) != (than->kind == CAUSE_CALLABLE))
		return than->kind == CAUSE_CALLABLE;
	return cause->ns > than->ns;
}

/* What took most of it, of that which is found; NULL: nothing is. */
static const struct slow_cause *cause_of(const struct judging *of, enum slow_loss loss,
					 int32_t *ret_finding)
{
	const struct slow_cause *best = NULL;

	for (size_t i = 0; i < of->slot->cause_count; i++) {
		const struct slow_cause *cause = &of->slot->causes[i];
		int32_t finding;

		if (loss_by(cause->kind) != loss || !explains_more(cause, best))
			continue;
		finding = finding_of(of, cause);
		if (finding < 0)
			continue;
		best = cause;
		*ret_finding = finding;
	}
	return best;
}

static enum verdict_kind kind_by(enum slow_cause_kind kind)
{
	switch (kind) {
	case CAUSE_POOL:
	case CAUSE_THREADS:
		return VERDICT_pool_exhausted;
	case CAUSE_PEER:
	case CAUSE_CALLABLE:
		return VERDICT_slow_dependency;
	case CAUSE_STARVED:
		return VERDICT_cpu_starved;
	default:
		return VERDICT_loop_blocked;
	}
}

static void name(struct verdict *verdict, const struct judging *of, enum slow_cause_kind kind,
		 int32_t finding)
{
	verdict->kind = kind_by(kind);
	verdict->finding = finding;
	verdict->loss = loss_by(kind);
	verdict->slow = of->slot->losses[verdict->loss].requests;
	verdict->longest_ns = of->slot->losses[verdict->loss].max_ns;
	verdict->named_ns = of->slot->losses[verdict->loss].ns;
}

/* The loss after `taken` that is the largest one; LOSS_COUNT: there is none. */
static enum slow_loss next_loss(const struct slow_slot *slot, const bool *taken)
{
	unsigned best = LOSS_COUNT;

	for (unsigned i = 0; i < LOSS_COUNT; i++)
		if (!taken[i] && slot->losses[i].ns &&
		    (best == LOSS_COUNT || slot->losses[i].ns > slot->losses[best].ns))
			best = i;
	return best;
}

static struct verdict judge(const struct judging *of)
{
	const struct slow_slot *slot = of->slot;
	struct verdict verdict = { .kind = VERDICT_healthy, .finding = -1,
				   .requests = slot->requests, .loss = LOSS_COUNT };
	bool taken[LOSS_COUNT] = { false };
	enum slow_loss loss = next_loss(slot, taken);
	const struct slow_cause *cause;
	int32_t finding;

	for (unsigned i = 0; i < LOSS_COUNT; i++)
		verdict.lost_ns += slot->losses[i].ns;
	/* while the loop stands nobody gives back what others wait for, or reads replies */
	cause = cause_of(of, LOSS_LOOP, &finding);
	if (cause && (cause->ns >= of->loop_ns / 2 ||
		      (loss == LOSS_COUNT && cause->ns >= of->input->thresholds->stall_ns))) {
		name(&verdict, of, cause->kind, finding);
		return verdict;
	}
	verdict.loss = loss;
	for (; loss != LOSS_COUNT; loss = next_loss(slot, taken)) {
		taken[loss] = true;
		cause = cause_of(of, loss, &finding);
		if (!cause)
			continue;
		name(&verdict, of, cause->kind, finding);
		return verdict;
	}
	if (verdict.loss != LOSS_COUNT) {
		verdict.slow = slot->losses[verdict.loss].requests;
		verdict.longest_ns = slot->losses[verdict.loss].max_ns;
	}
	return verdict;
}

static void add(struct verdict *to, const struct verdict *more)
{
	to->requests += more->requests;
	to->slow += more->slow;
	to->lost_ns += more->lost_ns;
	to->named_ns += more->named_ns;
	if (more->longest_ns > to->longest_ns)
		to->longest_ns = more->longest_ns;
	if (to->loss == LOSS_COUNT)
		to->loss = more->loss;
}

static bool equal(const struct verdict *a, const struct verdict *b)
{
	return a->kind == b->kind && a->finding == b->finding;
}

/*
 * Where a request is slow over several slots, what made it slow may be in one of them:
 * it belongs to that, and the others are what they are without it.  Returns what explains
 * the next slot, NULL: nothing known.
 */
static struct verdict *explain(struct verdict *verdict, struct verdict *by)
{
	if (verdict->kind != VERDICT_healthy)
		return verdict;
	if (!by || verdict->loss == LOSS_COUNT || by->loss != verdict->loss)
		return NULL;
	by->slow += verdict->slow;
	by->lost_ns += verdict->lost_ns;
	by->named_ns += verdict->lost_ns;
	if (verdict->longest_ns > by->longest_ns)
		by->longest_ns = verdict->longest_ns;
	verdict->loss = LOSS_COUNT;
	verdict->slow = verdict->longest_ns = verdict->lost_ns = 0;
	return by;
}

/*
 * Where no look saw anybody queued, what seemed to be the way to a thread was work in it
 * that was not seen to begin.
 */
static void doubt(struct verdict *verdict)
{
	if (verdict->kind != VERDICT_healthy || verdict->loss != LOSS_THREADS)
		return;
	verdict->loss = LOSS_COUNT;
	verdict->slow = verdict->longest_ns = verdict->lost_ns = 0;
}

/* Those side by side that say the same become one. */
static size_t merge(struct verdict *verdicts, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (kept && equal(&verdicts[kept - 1], &verdicts[i])) {
			verdicts[kept - 1].end_ns = verdicts[i].end_ns;
			add(&verdicts[kept - 1], &verdicts[i]);
		} else {
			verdicts[kept++] = verdicts[i];
		}
	}
	return kept;
}

static void bridge(struct verdict *verdicts, size_t count)
{
	for (size_t i = 1; i + 1 < count; i++)
		if (verdicts[i].kind == VERDICT_healthy && verdicts[i].loss == LOSS_COUNT &&
		    verdicts[i].end_ns - verdicts[i].start_ns <= BRIDGE_NS &&
		    equal(&verdicts[i - 1], &verdicts[i + 1])) {
			verdicts[i].kind = verdicts[i - 1].kind;
			verdicts[i].finding = verdicts[i - 1].finding;
			verdicts[i].loss = verdicts[i - 1].loss;
		}
}

static size_t loops_of(const struct report *report)
{
	size_t loops = 0;

	for (size_t i = 0; i < report->target_count; i++)
		for (size_t k = 0; k < report->targets[i].loop_count; k++)
			loops += report->targets[i].loops[k].steps != 0;
	return loops;
}

/* One per slot. */
static size_t judge_all(const struct detect_input *input, const struct report *report,
			size_t loops, struct verdict *verdicts)
{
	static const struct slow_slot nothing;
	const struct slow_log *log = &input->window->slow;
	uint64_t length = log->slots ? log->slot_ns : SLOW_SLOT_NS, end = input->start_ns;
	struct judging of = { .input = input, .report = report };
	size_t count = 0;

	while (count < SLOW_SLOTS && (end < input->end_ns || !count)) {
		uint64_t start = end;

		/* after the last slot nothing happened any more */
		end = count + 1 == SLOW_SLOTS || input->end_ns - start < length ? input->end_ns
										: start + length;
		of.slot = log->slots ? &log->slots[count] : &nothing;
		of.loop_ns = (end - start) * loops;
		verdicts[count] = judge(&of);
		verdicts[count].start_ns = start + (uint64_t)input->realtime_offset_ns;
		verdicts[count++].end_ns = end + (uint64_t)input->realtime_offset_ns;
	}
	return count;
}

int verdicts_fill(const struct detect_input *input, struct report *report)
{
	size_t loops = loops_of(report), count;
	struct verdict *by = NULL;

	if (!loops)
		return 0;
	report->verdicts = calloc(SLOW_SLOTS, sizeof(*report->verdicts));
	if (!report->verdicts)
		return -ENOMEM;
	count = judge_all(input, report, loops, report->verdicts);
	for (size_t i = 0; i < count; i++)
		by = explain(&report->verdicts[i], by);
	by = NULL;
	for (size_t i = count; i-- > 0;)
		by = explain(&report->verdicts[i], by);
	for (size_t i = 0; i < count; i++)
		doubt(&report->verdicts[i]);
	count = merge(report->verdicts, count);
	bridge(report->verdicts, count);
	report->verdict_count = merge(report->verdicts, count);
	return 0;
}
