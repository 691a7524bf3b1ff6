// SPDX-License-Identifier: Apache-2.0
#include "export/text_finding.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "detect/finding.h"
#include "export/clean.h"
#include "export/text_page.h"
#include "export/text_pools.h"

#define DURATION_BYTES 32
#define SHOWN_PROCESSES 4
#define SHOWN_VICTIMS 3
#define SHOWN_FRAMES 24

/* A sentence put together piece by piece; freed by sentence_end(). */
struct sentence {
	char *text;
	size_t size;
	FILE *out;
};

static FILE *sentence_begin(struct page *page, struct sentence *sentence)
{
	sentence->out = open_memstream(&sentence->text, &sentence->size);
	if (!sentence->out)
		page->error = -ENOMEM;
	return sentence->out;
}

static void sentence_end(struct page *page, struct sentence *sentence, enum text_style style,
			 const char *mark)
{
	if (fclose(sentence->out))
		page->error = -ENOMEM;
	else if (sentence->size)
		page_wrap(page, style, TEXT_INDENT, mark, sentence->text);
	free(sentence->text);
}

const char *finding_subject(const struct finding *finding, char *buffer, size_t size)
{
	if (finding->route)
		snprintf(buffer, size, "%s%s%s%s", finding->method ? finding->method : "",
			 finding->method ? " " : "", finding->route,
			 finding->route_folded ? " (guessed)" : "");
	else if (finding->owner_task)
		snprintf(buffer, size, "task %s", finding->owner_task);
	else if (finding->owner_thread)
		snprintf(buffer, size, "thread %s", finding->owner_thread);
	else if (finding->kind == FINDING_cpu_starvation)
		snprintf(buffer, size, "the whole process");
	else
		snprintf(buffer, size, "no request");
	return buffer;
}

static void put_title(struct page *page, const struct finding *finding)
{
	bool critical = finding->severity == SEVERITY_CRITICAL;
	const char *text = finding_text(finding);
	char subject[SUBJECT_BYTES];
	size_t width;

	finding_subject(finding, subject, sizeof(subject));
	width = TEXT_INDENT + clean_width(subject) + 2 + strlen(text);
	page_put(page, critical ? STYLE_CRITICAL : STYLE_WARNING,
		 critical ? "CRITICAL" : "WARNING ");
	fputs("  ", page->out);
	page_put(page, STYLE_ROUTE, subject);
	if (width > page->width)
		fprintf(page->out, "\n%*s%s\n", TEXT_INDENT, "", text);
	else
		fprintf(page->out, "  %s\n", text);
}

/* What the name of the culprit means for this kind, where it is not simply "here". */
static const char *culprit_prefix(const struct finding *finding)
{
	switch (finding->kind) {
	case FINDING_lock_wait:
		return finding->pool ? "waits at " : "";
	case FINDING_gil_contention:
		return "GIL held by ";
	case FINDING_cpu_starvation:
		return "was running ";
	case FINDING_threadpool_exhaustion:
	case FINDING_executor_exhaustion:
		return "taken by ";
	case FINDING_db_pool_exhaustion:
	case FINDING_http_pool_exhaustion:
		return "waits at ";
	default:
		return "";
	}
}

/* Below the culprit: the library's frame, the C function, the system call and what it was on. */
static void put_inside(struct page *page, const struct finding *finding)
{
	_cleanup_free_ char *library = NULL;
	struct sentence sentence;
	const char *comma = "";
	FILE *out;

	if (finding->library.file) {
		library = location_text(&finding->library, page->width - TEXT_INDENT - 3);
		if (!library)
			page->error = -ENOMEM;
	}
	out = sentence_begin(page, &sentence);
	if (!out)
		return;
	if (library)
		fprintf(out, "%s", library), comma = ", ";
	if (finding->native_frame)
		fprintf(out, "%s%s", comma, finding->native_frame), comma = ", ";
	if (finding->syscall)
		fprintf(out, "%ssystem call %s", comma, finding->syscall), comma = ", ";
	if (finding->peer)
		fprintf(out, "%speer %s", comma, finding->peer), comma = ", ";
	if (finding->detail)
		fprintf(out, "%s%s", comma, finding->detail);
	sentence_end(page, &sentence, STYLE_PLAIN,
		     library || finding->native_frame || finding->syscall ? "in " : "");
}

/* One line of it; all of it when everything is shown. */
static void put_statement(struct page *page, const struct finding *finding, bool all)
{
	static const char mark[] = "asked: ";
	_cleanup_free_ char *clean = clean_text(finding->statement, CLEAN_PRINT);
	size_t room = page->width - TEXT_INDENT - strlen(mark);

	if (!finding->statement)
		return;
	if (!clean) {
		page->error = -ENOMEM;
		return;
	}
	if (all || clean_width(clean) <= room) {
		page_wrap(page, STYLE_PLAIN, TEXT_INDENT, mark, clean);
		return;
	}
	fprintf(page->out, "%*s%s%.*s...\n", TEXT_INDENT, "", mark,
		(int)clean_prefix(clean, room - strlen("...")), clean);
}

static void put_durations(FILE *out, const struct finding *finding)
{
	const struct summary *all = &finding->duration;
	char p50[DURATION_BYTES], p99[DURATION_BYTES], max[DURATION_BYTES], total[DURATION_BYTES];

	format_duration(all->p50, p50, sizeof(p50));
	format_duration(all->p99, p99, sizeof(p99));
	format_duration(all->max, max, sizeof(max));
	format_duration(all->total, total, sizeof(total));
	/* Within a tenth they are all the same to a reader. */
	if (all->max - all->min <= all->p50 / 10)
		fprintf(out, ", %s each", p50);
	else if (strcmp(p99, max))
		fprintf(out, ", median %s, p99 %s, longest %s", p50, p99, max);
	else
		fprintf(out, ", median %s, longest %s", p50, max);
	fprintf(out, ", %s together", total);
}

/* Of peers how often they were asked, of everything else what the kernel was asked. */
static void put_calls(FILE *out, const struct finding *finding)
{
	char number[NUMBER_BYTES];

	if (finding->calls_per_request) {
		fprintf(out, ", %s calls per request",
			format_number(finding->calls_per_request, number));
		if (finding->per_request.max > finding->calls_per_request)
			fprintf(out, " (up to %s)",
				format_number(finding->per_request.max, number));
	}
	if (finding->calls > finding->count)
		fprintf(out, ", %s %scalls", format_number(finding->calls, number),
			finding->calls_per_request ? "" : "system ");
}

static void put_count(FILE *out, const struct finding *finding)
{
	char count[NUMBER_BYTES], longest[DURATION_BYTES];
	bool single = finding->count <= 1;

	format_number(finding->count, count);
	format_duration(finding->duration.max, longest, sizeof(longest));
	if (single && finding->since_before)
		fprintf(out, "%s for at least %s, since before the attach",
			finding->ongoing ? "still going on: held" : "held", longest);
	else if (single && finding->ongoing)
		fprintf(out, "still going on: held for %s so far", longest);
	else if (single)
		fprintf(out, "once, %s", longest);
	else
		fprintf(out, "%s times", count);
	if (!single && finding->requests) {
		format_number(finding->requests, count);
		fprintf(out, " in %s request%s", count, finding->requests == 1 ? "" : "s");
	}
	if (!single)
		put_durations(out, finding);
	put_calls(out, finding);
	if (single && finding->given_up)
		fputs(", given up without an answer", out);
	else if (finding->given_up)
		fprintf(out, ", %s of them given up without an answer",
			format_number(finding->given_up, count));
	if (!single && finding->ongoing)
		fputs(", the last one still going on", out);
	if (!single && finding->since_before)
		fputs(", the first one since before the attach", out);
}

static void put_how_much(struct page *page, const struct finding *finding)
{
	char number[NUMBER_BYTES];
	struct sentence sentence;
	FILE *out = sentence_begin(page, &sentence);

	if (!out)
		return;
	put_count(out, finding);
	switch (finding->evidence) {
	case EVIDENCE_EXACT:
		fputs("; exact", out);
		break;
	case EVIDENCE_SAMPLED:
		fprintf(out, "; sampled, %s sample%s", format_number(finding->samples, number),
			finding->samples == 1 ? "" : "s");
		break;
	case EVIDENCE_INCOMPLETE:
		fputs("; at least, events were lost", out);
		break;
	}
	sentence_end(page, &sentence, STYLE_PLAIN, "");
}

static void put_victims(struct page *page, const struct finding *finding, bool all)
{
	char longest[DURATION_BYTES], requests[NUMBER_BYTES];
	struct sentence sentence;
	FILE *out;

	if (!finding->victim_count)
		return;
	out = sentence_begin(page, &sentence);
	if (!out)
		return;
	for (size_t i = 0; i < finding->victim_count; i++) {
		const struct victim *victim = &finding->victims[i];

		if (!all && i == SHOWN_VICTIMS) {
			fprintf(out, " and %zu more", finding->victim_count - i);
			break;
		}
		fprintf(out, "%s%s%s%s (%s request%s, up to %s)", i ? ", " : "",
			victim->method ? victim->method : "", victim->method ? " " : "",
			victim->route ? victim->route : "?",
			format_number(victim->requests, requests),
			victim->requests == 1 ? "" : "s",
			format_duration(victim->max_ns, longest, sizeof(longest)));
	}
	sentence_end(page, &sentence, STYLE_PLAIN, "held up: ");
}

static void put_processes(struct page *page, const struct finding *finding, bool all)
{
	char count[NUMBER_BYTES];
	struct sentence sentence;
	FILE *out;

	if (finding->process_count < 2)
		return;
	out = sentence_begin(page, &sentence);
	if (!out)
		return;
	fprintf(out, "in %zu processes:", finding->process_count);
	for (size_t i = 0; i < finding->process_count; i++) {
		if (!all && i == SHOWN_PROCESSES) {
			fprintf(out, " and %zu more", finding->process_count - i);
			break;
		}
		fprintf(out, "%s %d (%s times)", i ? "," : "", (int)finding->processes[i].pid,
			format_number(finding->processes[i].count, count));
	}
	sentence_end(page, &sentence, STYLE_PLAIN, "");
}

/* Only where the loop was held for longer than the finding itself says. */
static void put_lag(struct page *page, const struct finding *finding, bool all)
{
	char median[DURATION_BYTES], longest[DURATION_BYTES], text[128];
	const struct summary *lag = &finding->loop_lag;

	if (!lag->count || (!all && lag->max <= finding->duration.max + finding->duration.max / 10))
		return;
	snprintf(text, sizeof(text), "the loop was held for up to %s (median %s)",
		 format_duration(lag->max, longest, sizeof(longest)),
		 format_duration(lag->p50, median, sizeof(median)));
	page_wrap(page, STYLE_PLAIN, TEXT_INDENT, "", text);
}

static void put_stack(struct page *page, const struct finding *finding)
{
	const struct stack_summary *stack = finding->stacks;
	char count[NUMBER_BYTES];

	if (!finding->stack_count)
		return;
	fprintf(page->out, "%*sstack seen %s time%s, innermost first%s:\n", TEXT_INDENT, "",
		format_number(stack->count, count), stack->count == 1 ? "" : "s",
		stack->truncated ? ", truncated" : "");
	for (size_t i = 0; i < stack->frame_count && i < SHOWN_FRAMES; i++)
		page_location(page, STYLE_DIM, TEXT_INDENT + 2, "", &stack->frames[i]);
	if (stack->frame_count > SHOWN_FRAMES)
		fprintf(page->out, "%*s... %zu more\n", TEXT_INDENT + 2, "",
			stack->frame_count - SHOWN_FRAMES);
}

void text_finding(struct page *page, const struct finding *finding, bool all)
{
	put_title(page, finding);
	if (finding->culprit.file)
		page_location(page, STYLE_PLACE, TEXT_INDENT, culprit_prefix(finding),
			      &finding->culprit);
	put_inside(page, finding);
	put_statement(page, finding, all);
	text_finding_pool(page, finding);
	put_how_much(page, finding);
	put_lag(page, finding, all);
	put_victims(page, finding, all);
	put_processes(page, finding, all);
	if (all)
		put_stack(page, finding);
	if (finding->advice)
		page_wrap(page, STYLE_PLAIN, TEXT_INDENT, "-> ", finding->advice);
	putc('\n', page->out);
}

void text_finding_line(struct page *page, const struct finding *finding)
{
	char subject[SUBJECT_BYTES], total[DURATION_BYTES], line[SUBJECT_BYTES + 256];
	bool critical = finding->severity == SEVERITY_CRITICAL;
	_cleanup_free_ char *place = NULL, *clean = NULL;
	size_t room = page->width - TEXT_INDENT, kept;

	page_put(page, critical ? STYLE_CRITICAL : STYLE_WARNING,
		 critical ? "CRITICAL" : "WARNING ");
	snprintf(line, sizeof(line), "  %-16s %9s  %s", finding_kind_name(finding->kind),
		 format_duration(finding->duration.total, total, sizeof(total)),
		 finding_subject(finding, subject, sizeof(subject)));
	clean = clean_text(line, CLEAN_PRINT);
	if (!clean) {
		page->error = -ENOMEM;
		return;
	}
	kept = clean_prefix(clean, room + 2);
	fprintf(page->out, "%.*s", (int)kept, clean);
	/* The place as far as there is room for a useful part of it. */
	if (finding->culprit.file && clean_width(clean) + 30 < room) {
		place = location_text(&finding->culprit,
				      (unsigned)(room - clean_width(clean)));
		if (place)
			fprintf(page->out, "  %.*s",
				(int)clean_prefix(place, room - clean_width(clean)), place);
	}
	putc('\n', page->out);
}
