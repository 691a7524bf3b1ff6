// SPDX-License-Identifier: Apache-2.0
/* The report for people: what it was, what is wrong, worst first, on one screen. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "base/version.h"
#include "detect/finding.h"
#include "export/clean.h"
#include "export/exporter.h"
#include "export/formats.h"
#include "export/select.h"
#include "export/text_finding.h"
#include "export/text_page.h"
#include "export/text_pools.h"
#include "export/text_routes.h"
#include "export/verdicts.h"

#define WIDTH_DEFAULT 100
#define WIDTH_LEAST 60
#define SCREEN_LINES 40
#define SHOWN_TARGETS 6
#define SHOWN_LOOPS 4
#define SHORT_LEAST 6	/* findings in one line each that are kept room for */
#define FINDINGS_LEAST 12	/* lines that findings get before tables get long */
#define TAIL_LINES 2
#define DURATION_BYTES 32

static void put_loop(struct page *page, const struct loop_summary *loop)
{
	char steps[NUMBER_BYTES], p99[DURATION_BYTES], longest[DURATION_BYTES];

	fprintf(page->out, "  loop %d: ", (int)loop->tid);
	if (loop->steps && loop->busy_ratio >= 0)
		fprintf(page->out, "%.0f %% busy, ", loop->busy_ratio * 100);
	fprintf(page->out, "%s step%s", format_number(loop->steps, steps),
		loop->steps == 1 ? "" : "s");
	if (loop->step.count)
		fprintf(page->out, ", p99 %s, longest %s",
			format_duration(loop->step.p99, p99, sizeof(p99)),
			format_duration(loop->step.max, longest, sizeof(longest)));
	putc('\n', page->out);
}

static void put_target(struct page *page, const struct target_summary *target, bool all)
{
	char line[512];

	snprintf(line, sizeof(line), "pid %d  %s%s%s%s%s", (int)target->pid,
		 target->server ? target->server : "unknown server",
		 target->loop_kind ? " on " : "", target->loop_kind ? target->loop_kind : "",
		 target->python ? ", CPython " : "", target->python ? target->python : "");
	page_wrap(page, STYLE_PLACE, 0, "", line);
	if (target->cmdline && all)
		page_wrap(page, STYLE_DIM, 2, "", target->cmdline);
	for (size_t i = 0; i < target->loop_count; i++) {
		if (!all && i == SHOWN_LOOPS) {
			fprintf(page->out, "  and %zu more loops\n", target->loop_count - i);
			break;
		}
		put_loop(page, &target->loops[i]);
	}
	for (size_t i = 0; i < target->note_count; i++)
		page_wrap(page, STYLE_WARNING, 2, "note: ", target->notes[i]);
}

static void put_head(struct page *page, const struct report *report, bool all)
{
	uint64_t length = report->end_ns > report->start_ns ? report->end_ns - report->start_ns : 0;
	char duration[DURATION_BYTES], start[48], line[512];

	snprintf(line, sizeof(line), "loopscope %s  %s from %s on, Linux %s %s",
		 LOOPSCOPE_VERSION, format_duration(length, duration, sizeof(duration)),
		 format_time(report->start_ns, start, sizeof(start)),
		 report->kernel ? report->kernel : "?", report->arch ? report->arch : "");
	page_wrap(page, STYLE_DIM, 0, "", line);
	for (size_t i = 0; i < report->target_count; i++) {
		if (!all && i == SHOWN_TARGETS) {
			fprintf(page->out, "and %zu more processes\n", report->target_count - i);
			break;
		}
		put_target(page, &report->targets[i], all);
	}
	putc('\n', page->out);
}

static void put_healthy(struct page *page, const struct report *report)
{
	struct loop_summary worst = { 0 };
	char longest[DURATION_BYTES], p99[DURATION_BYTES], steps[NUMBER_BYTES], line[256];
	size_t loops = 0;

	for (size_t i = 0; i < report->target_count; i++) {
		for (size_t j = 0; j < report->targets[i].loop_count; j++) {
			const struct loop_summary *loop = &report->targets[i].loops[j];

			if (!loop->steps)
				continue;
			loops++;
			worst.steps += loop->steps;
			if (loop->busy_ratio > worst.busy_ratio)
				worst.busy_ratio = loop->busy_ratio;
			if (loop->step.p99 > worst.step.p99)
				worst.step.p99 = loop->step.p99;
			if (loop->step.max > worst.step.max)
				worst.step.max = loop->step.max;
		}
	}
	if (!loops) {
		page_wrap(page, STYLE_WARNING, 0, "",
			  "No event loop took a step, so nothing can be said about it.");
		return;
	}
	snprintf(line, sizeof(line), "No findings: the event loop%s healthy. %s steps, p99 %s, "
		 "longest %s, %sbusy %.0f %% of the time.", loops > 1 ? "s were" : " was",
		 format_number(worst.steps, steps),
		 format_duration(worst.step.p99, p99, sizeof(p99)),
		 format_duration(worst.step.max, longest, sizeof(longest)),
		 loops > 1 ? "at most " : "", worst.busy_ratio * 100);
	page_wrap(page, STYLE_GOOD, 0, "", line);
}

/* What loopscope itself cost, then what was handled and lost: always the last line. */
static void put_tail(struct page *page, const struct report *report)
{
	char number[NUMBER_BYTES], share[32] = "";
	uint64_t lost = 0;
	char *line = NULL;
	size_t size = 0;
	FILE *out;

	fprintf(page->out, "cost: %.2f s of CPU, ", report->self_cpu_s);
	if (report->bpf_cpu_s >= 0)
		fprintf(page->out, "%.2f s in the kernel's probes, ", report->bpf_cpu_s);
	fprintf(page->out, "%.1f MiB\n", (double)report->self_rss_bytes / (1 << 20));
	for (size_t i = 0; i < report->loss_count; i++)
		lost += report->losses[i].count;
	if (lost && report->produced)
		snprintf(share, sizeof(share), " (%.2g %%)",
			 (double)lost * 100 / (double)report->produced);
	out = open_memstream(&line, &size);
	if (!out) {
		page->error = -ENOMEM;
		return;
	}
	fprintf(out, "handled %s events", format_number(report->received, number));
	fprintf(out, ", lost %s%s", format_number(lost, number), share);
	for (size_t i = 0; i < report->loss_count; i++)
		if (report->losses[i].count)
			fprintf(out, "; %s %s (%s)", report->losses[i].name,
				format_number(report->losses[i].count, number),
				report->losses[i].text);
	if (fclose(out))
		page->error = -ENOMEM;
	else
		page_wrap(page, lost ? STYLE_WARNING : STYLE_PLAIN, 0, "", line);
	free(line);
}

static void put_counters(struct page *page, const struct report *report)
{
	char number[NUMBER_BYTES];

	for (size_t i = 0; i < report->note_count; i++)
		if (report->notes[i].count)
			fprintf(page->out, "%12s  %s\n",
				format_number(report->notes[i].count, number),
				report->notes[i].text);
}

/* A block in memory, and how many lines it has. */
struct block {
	char *text;
	size_t size, lines;
};

static int block_make(const struct page *page, const struct finding *finding, bool all,
		      struct block *ret_block)
{
	struct page inner = *page;
	struct block block = { 0 };

	inner.out = open_memstream(&block.text, &block.size);
	if (!inner.out)
		return -ENOMEM;
	text_finding(&inner, finding, all);
	if (fclose(inner.out))
		inner.error = -ENOMEM;
	if (inner.error) {
		free(block.text);
		return inner.error;
	}
	for (size_t i = 0; i < block.size; i++)
		block.lines += block.text[i] == '\n';
	*ret_block = block;
	return 0;
}

static void put_more(struct page *page, const struct selection *selection, size_t shown,
		     size_t room)
{
	size_t left = selection->finding_count - shown, at = shown;

	if (room > left)
		room = left;
	for (size_t i = 0; i < room; i++)
		text_finding_line(page, selection->findings[at++]);
	if (room)
		putc('\n', page->out);
	fprintf(page->out, "%zu of %zu findings in full%s; -v or --json shows them all\n", shown,
		selection->finding_count, room < left ? ", not all of the rest" : "");
}

/*
 * As many in full as fit, at least one; the rest in a line each.  `lines` are
 * what everything else takes of the screen.  True when an empty line was the last.
 */
static bool put_findings(struct page *page, const struct selection *selection, bool all,
			 size_t lines)
{
	size_t shown = 0, short_ones, left;
	struct block block = { 0 };
	int err;

	for (; shown < selection->finding_count; shown++) {
		err = block_make(page, selection->findings[shown], all, &block);
		if (err) {
			page->error = err;
			return true;
		}
		left = selection->finding_count - shown - 1;
		short_ones = left < SHORT_LEAST ? left : SHORT_LEAST;
		if (!all && shown && lines + block.lines + (left ? short_ones + 2 : 0) >
				      SCREEN_LINES) {
			free(block.text);
			break;
		}
		fwrite(block.text, 1, block.size, page->out);
		lines += block.lines;
		free(block.text);
	}
	if (shown == selection->finding_count)
		return true;
	lines += 2;
	left = lines + SHORT_LEAST < SCREEN_LINES ? SCREEN_LINES - lines : SHORT_LEAST;
	put_more(page, selection, shown, left);
	return false;
}

static size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

/* What belongs to one report, and what of it is shown. */
struct content {
	const struct report *report;
	const struct selection *selection;
	bool all;
};

/* The head, or the tables within `limits`, in memory; NULL: page->error says why. */
static char *part_of(struct page *page, const struct content *content,
		     const struct table_limits *limits)
{
	struct page inner = *page;
	char *text = NULL;
	size_t size = 0;

	inner.out = open_memstream(&text, &size);
	if (!inner.out) {
		page->error = -ENOMEM;
		return NULL;
	}
	if (limits) {
		text_routes(&inner, content->report, content->selection, limits);
		text_pools(&inner, content->report, limits->pools);
	} else {
		text_verdicts(&inner, content->report, content->all);
		put_head(&inner, content->report, content->all);
	}
	if (fclose(inner.out))
		inner.error = -ENOMEM;
	if (!inner.error)
		return text;
	page->error = inner.error;
	free(text);
	return NULL;
}

/* The tables, shorter ones where they and `lines` of head and tail leave findings no room. */
static char *tables_of(struct page *page, const struct content *content, size_t lines)
{
	char *text = part_of(page, content, content->all ? &limits_all : &limits_usual);

	if (content->selection->finding_count)
		lines += FINDINGS_LEAST;
	if (!text || content->all || lines + count_lines(text) <= SCREEN_LINES)
		return text;
	free(text);
	return part_of(page, content, &limits_narrow);
}

static int put_all(struct page *page, const struct content *content)
{
	const struct report *report = content->report;
	const struct selection *selection = content->selection;
	_cleanup_free_ char *head = part_of(page, content, NULL);
	size_t lines = head ? count_lines(head) + TAIL_LINES : 0;
	_cleanup_free_ char *tables = head ? tables_of(page, content, lines) : NULL;
	bool spaced = false;

	if (!tables)
		return page->error;
	fputs(head, page->out);
	if (selection->finding_count)
		spaced = put_findings(page, selection, content->all,
				      lines + count_lines(tables));
	else if (report->finding_count)
		page_wrap(page, STYLE_PLAIN, 0, "", "No findings on the routes asked for.");
	else
		put_healthy(page, report);
	if (*tables && !spaced)
		putc('\n', page->out);
	fputs(tables, page->out);
	if (report->route_count && !selection->route_count)
		page_wrap(page, STYLE_PLAIN, 0, "", "No requests of the routes asked for.");
	if (content->all)
		put_counters(page, report);
	put_tail(page, report);
	return page->error;
}

int text_write(const struct report *report, const struct export_options *options, FILE *out)
{
	struct page page = { .out = out, .color = options->color };
	struct selection selection;
	struct content content;
	int err;

	page.width = options->width ? options->width : WIDTH_DEFAULT;
	if (page.width < WIDTH_LEAST)
		page.width = WIDTH_LEAST;
	err = selection_make(report, options, &selection);
	if (err)
		return err;
	content = (struct content){ report, &selection, options->all };
	err = put_all(&page, &content);
	selection_free(&selection);
	if (err)
		return err;
	return ferror(out) ? -EIO : 0;
}
