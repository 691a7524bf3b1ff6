// SPDX-License-Identifier: Apache-2.0
#include "export/verdicts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "detect/finding.h"
#include "export/text_finding.h"

#define DURATION_BYTES 32
#define PLACE_COLUMNS 48
#define SHOWN_CHANGES 4
#define FEW_SAMPLES 3	/* fewer say that it happened, hardly more */

/* Inside of a sentence; findings of other kinds are named by what they are about. */
static const char *words_of(const struct finding *finding)
{
	switch (finding->kind) {
	case FINDING_cpu_stall:
		return "CPU work";
	case FINDING_gc_pause:
		return "garbage collection";
	case FINDING_gil_contention:
		return "holds the GIL";
	case FINDING_lock_wait:
		return "waits for a thread lock";
	case FINDING_log_backpressure:
		return "log pipe is full";
	case FINDING_page_fault:
		return "pages from disk";
	default:
		return finding->syscall ? finding->syscall : "blocking call";
	}
}

static int put_place(FILE *out, const struct place *location)
{
	_cleanup_free_ char *text = NULL;

	if (!location->file)
		return 0;
	text = location_text(location, PLACE_COLUMNS);
	if (!text)
		return -ENOMEM;
	fprintf(out, ", %s", text);
	return 0;
}

static int put_loop(FILE *out, const struct finding *finding)
{
	char subject[SUBJECT_BYTES];
	int error;

	if (finding->kind == FINDING_loop_saturated) {
		fputs("loop blocked by many small callbacks, none of them to blame alone", out);
		return 0;
	}
	fprintf(out, "loop blocked by %s", finding_subject(finding, subject, sizeof(subject)));
	error = put_place(out, &finding->culprit);
	fprintf(out, " (%s%s%s)", words_of(finding), finding->peer ? ", peer " : "",
		finding->peer ? finding->peer : "");
	return error;
}

/* "pool accounts (asyncpg, size 10) exhausted", "lock (asyncio.Lock) held". */
static void put_what(FILE *out, const struct finding *finding)
{
	const struct pool_summary *pool = finding->pool;
	bool lock = finding->kind == FINDING_lock_wait;

	fprintf(out, "%s%s%s (%s", lock ? "lock" : "pool", pool->name ? " " : "",
		pool->name ? pool->name : "", pool->kind);
	if (!lock && pool->size >= 0)
		fprintf(out, ", size %" PRId64, pool->size);
	fprintf(out, ") %s", lock ? "held" : "exhausted");
}

static int put_pool(FILE *out, const struct finding *finding)
{
	const struct pool_summary *pool = finding->pool;
	const struct holder_summary *holder = pool->holder_count ? &pool->holders[0] : NULL;
	const char *route = holder ? holder->route : NULL;
	const char *method = holder ? holder->method : NULL;
	const struct place *place = holder ? &holder->place : NULL;

	/* of threads it is the culprit */
	if (finding->kind == FINDING_threadpool_exhaustion ||
	    finding->kind == FINDING_executor_exhaustion) {
		route = finding->route;
		method = finding->method;
		place = finding->culprit.file ? &finding->culprit : NULL;
	}
	put_what(out, finding);
	if (!place) {
		fputs(", by whom was not seen", out);
		return 0;
	}
	fprintf(out, " by %s%s%s", route && method ? method : "",
		route && method ? " " : "", route ? route : "work of no request");
	return put_place(out, place);
}

static int put_dependency(FILE *out, const struct finding *finding)
{
	char median[DURATION_BYTES], subject[SUBJECT_BYTES];
	const char *what = finding->peer ? finding->peer : finding->detail;

	fprintf(out, "dependency %s slow (median %s), called by %s", what ? what : "?",
		format_duration(finding->duration.p50, median, sizeof(median)),
		finding_subject(finding, subject, sizeof(subject)));
	return put_place(out, &finding->culprit);
}

static void put_requests(FILE *out, const struct verdict *verdict, const char *what)
{
	char number[NUMBER_BYTES], longest[DURATION_BYTES];

	fprintf(out, "%s request%s %s, up to %s", format_number(verdict->slow, number),
		verdict->slow == 1 ? "" : "s", what,
		format_duration(verdict->longest_ns, longest, sizeof(longest)));
}

/* Single ones that lost a moment are what every machine has. */
static bool is_worth_a_word(const struct verdict *verdict)
{
	return verdict->loss < LOSS_COUNT && verdict->slow &&
	       (verdict->slow * 100 >= verdict->requests || verdict->longest_ns >= NS_PER_S);
}

static void put_healthy(FILE *out, const struct verdict *verdict)
{
	static const char *const lost_to[] = {
		[LOSS_LOOP] = "on or behind the loop", [LOSS_POOL] = "for pools",
		[LOSS_THREADS] = "for threads",
		[LOSS_PEER] = "for peers", [LOSS_OTHER] = "for something unknown",
	};

	fputs("healthy", out);
	if (is_worth_a_word(verdict)) {
		fputs(" as far as can be seen: ", out);
		put_requests(out, verdict, "waited");
		fprintf(out, " %s, and no finding says why", lost_to[verdict->loss]);
	} else if (!verdict->requests) {
		fputs(", but no request was answered", out);
	}
}

/* How sure it is, where it is not. */
static void put_doubts(FILE *out, const struct verdict *verdict, const struct finding *finding)
{
	if (verdict->named_ns && verdict->named_ns < verdict->lost_ns / 2)
		fprintf(out, "; explains %" PRIu64 " %% of the time lost",
			verdict->named_ns * 100 / verdict->lost_ns);
	if (finding->evidence == EVIDENCE_SAMPLED && finding->samples &&
	    finding->samples < FEW_SAMPLES)
		fprintf(out, "; thin evidence, seen %" PRIu64 " time%s", finding->samples,
			finding->samples == 1 ? "" : "s");
	if (finding->evidence == EVIDENCE_INCOMPLETE)
		fputs("; events were lost", out);
}

static int put_verdict(FILE *out, const struct report *report, const struct verdict *verdict)
{
	const struct finding *finding;
	int error = 0;

	if (verdict->finding < 0) {
		put_healthy(out, verdict);
		return 0;
	}
	finding = &report->findings[verdict->finding];
	switch (verdict->kind) {
	case VERDICT_loop_blocked:
		error = put_loop(out, finding);
		break;
	case VERDICT_pool_exhausted:
		error = put_pool(out, finding);
		break;
	case VERDICT_slow_dependency:
		error = put_dependency(out, finding);
		break;
	case VERDICT_cpu_starved:
		fprintf(out, "CPU starved: %s", finding->detail ? finding->detail
								: "others had the CPU");
		break;
	case VERDICT_healthy:
		break;
	}
	if (verdict->slow) {
		fputs("; ", out);
		put_requests(out, verdict, "slow");
	} else {
		fputs("; no request was slow", out);
	}
	put_doubts(out, verdict, finding);
	return error;
}

char *verdict_text(const struct report *report, const struct verdict *verdict)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int error;

	if (!out)
		return NULL;
	error = put_verdict(out, report, verdict);
	if (!fclose(out) && !error)
		return text;
	free(text);
	return NULL;
}

/* ---- text -------------------------------------------------------------------- */

/* All intervals that say what this one says, in one; how long they are together. */
static uint64_t sum_of(const struct report *report, const struct verdict *like,
		       struct verdict *ret_sum)
{
	uint64_t length = 0;

	*ret_sum = *like;
	ret_sum->requests = ret_sum->slow = ret_sum->lost_ns = ret_sum->named_ns = 0;
	for (size_t i = 0; i < report->verdict_count; i++) {
		const struct verdict *it = &report->verdicts[i];

		if (it->kind != like->kind || it->finding != like->finding)
			continue;
		length += it->end_ns - it->start_ns;
		ret_sum->requests += it->requests;
		ret_sum->slow += it->slow;
		ret_sum->lost_ns += it->lost_ns;
		ret_sum->named_ns += it->named_ns;
		if (it->longest_ns > ret_sum->longest_ns)
			ret_sum->longest_ns = it->longest_ns;
		if (ret_sum->loss == LOSS_COUNT)
			ret_sum->loss = it->loss;
	}
	return length;
}

/* Not healthy, most time lost, longest; `length` is that of all intervals like it. */
static struct verdict worst_of(const struct report *report, uint64_t *ret_length)
{
	struct verdict worst = { .kind = VERDICT_healthy, .finding = -1 }, sum;

	*ret_length = 0;
	for (size_t i = 0; i < report->verdict_count; i++) {
		uint64_t length = sum_of(report, &report->verdicts[i], &sum);
		bool found = sum.finding >= 0, before = worst.finding >= 0;

		if (*ret_length && found == before &&
		    (sum.named_ns < worst.named_ns ||
		     (sum.named_ns == worst.named_ns && length <= *ret_length)))
			continue;
		if (*ret_length && before && !found)
			continue;
		worst = sum;
		*ret_length = length;
	}
	return worst;
}

static void put_line(struct page *page, const struct report *report, const struct verdict *verdict,
		     unsigned indent, const char *mark)
{
	_cleanup_free_ char *text = verdict_text(report, verdict);

	if (text)
		page_wrap(page, verdict->finding >= 0 ? STYLE_CRITICAL : STYLE_GOOD, indent, mark,
			  text);
	else
		page->error = -ENOMEM;
}

/* Before the first request and after the last one there is nothing to say. */
static bool is_idle(const struct verdict *verdict)
{
	return verdict->finding < 0 && !verdict->requests && !verdict->slow;
}

static bool kinds_differ(const struct report *report)
{
	const struct verdict *first = NULL;

	for (size_t i = 0; i < report->verdict_count; i++) {
		const struct verdict *it = &report->verdicts[i];

		if (is_idle(it))
			continue;
		if (first && first->kind != it->kind)
			return true;
		first = it;
	}
	return false;
}

static void put_changes(struct page *page, const struct report *report, size_t count, bool all)
{
	char mark[64];
	size_t shown = 0;

	for (size_t i = 0; i < report->verdict_count; i++) {
		const struct verdict *verdict = &report->verdicts[i];

		if (is_idle(verdict))
			continue;
		if (!all && shown == SHOWN_CHANGES) {
			fprintf(page->out, "  and %zu more change%s, see -v or --json\n",
				count - shown, count - shown == 1 ? "" : "s");
			return;
		}
		shown++;
		snprintf(mark, sizeof(mark), "%.0f s to %.0f s: ",
			 (double)(verdict->start_ns - report->start_ns) / (double)NS_PER_S,
			 (double)(verdict->end_ns - report->start_ns) / (double)NS_PER_S);
		put_line(page, report, verdict, 2, mark);
	}
}

void text_verdicts(struct page *page, const struct report *report, bool all)
{
	char of[DURATION_BYTES], together[DURATION_BYTES], mark[2 * DURATION_BYTES + 32];
	struct verdict worst;
	size_t count = 0;
	uint64_t length;

	if (!report->verdict_count)
		return;
	for (size_t i = 0; i < report->verdict_count; i++)
		count += !is_idle(&report->verdicts[i]);
	worst = worst_of(report, &length);
	if (count <= 1) {
		put_line(page, report, &worst, 0, "verdict: ");
		return;
	}
	snprintf(mark, sizeof(mark), "verdict, for %s of %s: ",
		 format_duration(length, together, sizeof(together)),
		 format_duration(report->end_ns - report->start_ns, of, sizeof(of)));
	put_line(page, report, &worst, 0, mark);
	/* from one culprit to another: the findings below name them all */
	if (all || kinds_differ(report))
		put_changes(page, report, count, all);
}

/* ---- JSON -------------------------------------------------------------------- */

void json_put_verdicts(struct builder *builder, cJSON *root, const struct report *report)
{
	cJSON *array = put_array(builder, root, "verdicts");

	for (size_t i = 0; i < report->verdict_count; i++) {
		const struct verdict *verdict = &report->verdicts[i];
		_cleanup_free_ char *text = verdict_text(report, verdict);
		cJSON *object = put_object(builder, array, NULL);

		if (!text)
			builder->error = -ENOMEM;
		put_time(builder, object, "start", verdict->start_ns);
		put_time(builder, object, "end", verdict->end_ns);
		put_text(builder, object, "verdict", verdict_kind_name(verdict->kind));
		put_text(builder, object, "finding",
			 verdict->finding < 0 ? NULL : report->findings[verdict->finding].id);
		put_number(builder, object, "requests", verdict->requests);
		put_number(builder, object, "slow_requests", verdict->slow);
		put_text(builder, object, "text", text);
	}
}
