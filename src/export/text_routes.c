// SPDX-License-Identifier: Apache-2.0
#include "export/text_routes.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/stacks.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "detect/finding.h"
#include "export/select.h"
#include "export/text_cause.h"
#include "export/text_page.h"
#include "export/text_table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MS_BYTES 32

const struct table_limits limits_all = {
	.routes = SIZE_MAX, .awaits = 5, .websockets = SIZE_MAX, .dependencies = SIZE_MAX,
	.injected = SIZE_MAX, .middleware = SIZE_MAX, .victims = SIZE_MAX, .pools = SIZE_MAX,
};

const struct table_limits limits_usual = {
	.routes = 8, .websockets = 3, .dependencies = 5, .injected = 4, .middleware = 3,
	.victims = 3, .pools = 3,
};

const struct table_limits limits_narrow = {
	.routes = 4, .websockets = 1, .dependencies = 2, .injected = 2, .middleware = 1,
	.victims = 2, .pools = 1,
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Three digits that count, without a unit. */
static const char *ms(const struct summary *summary, uint64_t ns, char *buffer)
{
	double value = (double)ns / NS_PER_MS;

	if (!summary->count)
		return "-";
	/* Borders lie where rounding would give a digit more. */
	snprintf(buffer, MS_BYTES, "%.*f", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value);
	return buffer;
}

/* A mean of counts; negative: not known. */
static const char *rate(double value, char *buffer)
{
	if (value < 0)
		return "-";
	snprintf(buffer, MS_BYTES, "%.*f", value < 99.95 ? 1 : 0, value);
	return buffer;
}

static void number_cell(struct table *table, uint64_t value)
{
	char buffer[NUMBER_BYTES];

	table_cell(table, STYLE_PLAIN, "%s", format_number(value, buffer));
}

static void error_cell(struct table *table, uint64_t value)
{
	char buffer[NUMBER_BYTES];

	table_cell(table, value ? STYLE_WARNING : STYLE_PLAIN, "%s",
		   format_number(value, buffer));
}

static void ms_cell(struct table *table, const struct summary *summary, uint64_t ns)
{
	char buffer[MS_BYTES];

	table_cell(table, STYLE_PLAIN, "%s", ms(summary, ns, buffer));
}

static void route_cell(struct table *table, enum text_style style, const char *method,
		       const char *route, bool folded)
{
	table_cell(table, style, "%s%s%s%s", method ? method : "", method ? " " : "",
		   route ? route : "-", folded ? " (guessed)" : "");
}

/* The rows, what is not shown of them, and an empty line. */
static void end_section(struct page *page, struct table *table, size_t shown, size_t count)
{
	char line[64], number[NUMBER_BYTES];

	table_end(page, table);
	if (shown < count) {
		snprintf(line, sizeof(line), "... and %s more, see -v or --json",
			 format_number(count - shown, number));
		page_put(page, STYLE_DIM, line);
		putc('\n', page->out);
	}
	if (count)
		putc('\n', page->out);
}

static void cause_cell(struct page *page, struct table *table, const struct report *report,
		       const struct route_summary *route)
{
	struct route_cause cause = route_cause_of(report, route);
	_cleanup_free_ char *text = route_cause_text(&cause);

	if (!text)
		page->error = -ENOMEM;
	else
		table_cell(table, STYLE_PLAIN, "%s", text);
}

static void put_routes(struct page *page, const struct report *report,
		       const struct selection *selection, size_t limit)
{
	static const struct table_column columns[] = {
		{ "route", false, CUT_MIDDLE, 0 }, { "requests", true, CUT_NEVER, 0 },
		{ "errors", true, CUT_NEVER, 0 }, { "p50 ms", true, CUT_NEVER, 4 },
		{ "p90", true, CUT_NEVER, 1 }, { "p99", true, CUT_NEVER, 0 },
		{ "max", true, CUT_NEVER, 3 }, { "loop", true, CUT_NEVER, 2 },
		{ "worst cause", false, CUT_MIDDLE, 0 },
	};
	struct table table = table_begin(columns, COUNT(columns));
	size_t shown = least(selection->route_count, limit);

	for (size_t i = 0; i < shown; i++) {
		const struct route_summary *route = selection->routes[i];
		const struct summary *latency = &route->latency;

		route_cell(&table, STYLE_ROUTE, route->method, route->route, route->folded);
		number_cell(&table, route->requests);
		error_cell(&table, route->errors);
		ms_cell(&table, latency, latency->p50);
		ms_cell(&table, latency, latency->p90);
		ms_cell(&table, latency, latency->p99);
		ms_cell(&table, latency, latency->max);
		if (route->loop_share >= 0)
			table_cell(&table, STYLE_PLAIN, "%.0f %%", route->loop_share * 100);
		else
			table_cell(&table, STYLE_PLAIN, "-");
		cause_cell(page, &table, report, route);
	}
	end_section(page, &table, shown, selection->route_count);
}

static void put_from_read(struct page *page, const struct selection *selection)
{
	char line[160], number[NUMBER_BYTES];
	uint64_t count = 0;

	for (size_t i = 0; i < selection->route_count; i++)
		count += selection->routes[i]->from_read;
	if (!count)
		return;
	snprintf(line, sizeof(line), "%s requests timed from when read, not from arrival",
		 format_number(count, number));
	page_put(page, STYLE_DIM, line);
	fputs("\n\n", page->out);
}

static uint64_t whole_of(const struct route_summary *route)
{
	uint64_t whole = 0;

	for (unsigned part = 0; part < PART_COUNT; part++)
		whole += route->parts[part];
	return whole;
}

static void await_row(struct page *page, struct table *table, const struct route_summary *route,
		      const struct await_summary *await)
{
	const struct place *site = stack_site(await->stack);
	_cleanup_free_ char *at = site->file ? location_text(site, page->width) : NULL;
	struct summary each = { .count = await->requests };

	route_cell(table, STYLE_ROUTE, route->method, route->route, route->folded);
	table_cell(table, STYLE_PLAIN, "%s", time_part_name(await->part));
	table_cell(table, STYLE_PLAIN, "%.0f %%",
		   100.0 * (double)await->ns / (double)whole_of(route));
	ms_cell(table, &each, await->ns / await->requests);
	number_cell(table, await->requests);
	if (site->file && !at)
		page->error = -ENOMEM;
	table_cell(table, at ? STYLE_PLACE : STYLE_DIM, "%s", at ? at : "not seen");
}

/* What takes a hundredth of a route's time or more. */
static void put_awaits(struct page *page, const struct selection *selection, size_t limit)
{
	static const struct table_column columns[] = {
		{ "awaiting", false, CUT_MIDDLE, 0 }, { "what", false, CUT_NEVER, 0 },
		{ "share", true, CUT_NEVER, 0 }, { "ms each", true, CUT_NEVER, 1 },
		{ "requests", true, CUT_NEVER, 2 }, { "at", false, CUT_LEFT, 0 },
	};
	struct table table = table_begin(columns, COUNT(columns));
	size_t rows = 0;

	for (size_t i = 0; i < selection->route_count; i++) {
		const struct route_summary *route = selection->routes[i];

		for (size_t k = 0; k < least(route->await_count, limit) &&
				   route->awaits[k].ns >= whole_of(route) / 100; k++, rows++)
			await_row(page, &table, route, &route->awaits[k]);
	}
	end_section(page, &table, rows, rows);
}

static void put_websockets(struct page *page, const struct selection *selection, size_t limit)
{
	static const struct table_column columns[] = {
		{ "websocket", false, CUT_MIDDLE, 0 }, { "sessions", true, CUT_NEVER, 0 },
		{ "open", true, CUT_NEVER, 0 }, { "received", true, CUT_NEVER, 0 },
		{ "sent", true, CUT_NEVER, 0 }, { "lasted p50 ms", true, CUT_NEVER, 1 },
		{ "max", true, CUT_NEVER, 1 },
	};
	struct table table = table_begin(columns, COUNT(columns));
	size_t shown = least(selection->websocket_count, limit);

	for (size_t i = 0; i < shown; i++) {
		const struct websocket_summary *row = selection->websockets[i];

		route_cell(&table, STYLE_ROUTE, NULL, row->route, false);
		number_cell(&table, row->sessions);
		number_cell(&table, row->ongoing);
		number_cell(&table, row->messages_in);
		number_cell(&table, row->messages_out);
		ms_cell(&table, &row->duration, row->duration.p50);
		ms_cell(&table, &row->duration, row->duration.max);
	}
	end_section(page, &table, shown, selection->websocket_count);
}

/* "db.internal:5432" where the name is known. */
static void peer_cell(struct table *table, const struct dependency_summary *row)
{
	const char *port = row->peer ? strrchr(row->peer, ':') : NULL;

	if (row->peer_name && *row->peer_name)
		table_cell(table, STYLE_PLACE, "%s%s", row->peer_name,
			   port && !strchr(row->peer_name, ':') ? port : "");
	else
		table_cell(table, STYLE_PLACE, "%s", row->peer ? row->peer : "?");
}

static void put_dependencies(struct page *page, const struct selection *selection, size_t limit)
{
	static const struct table_column columns[] = {
		{ "peer", false, CUT_MIDDLE, 0 }, { "protocol", false, CUT_NEVER, 0 },
		{ "route", false, CUT_MIDDLE, 0 }, { "called at", false, CUT_LEFT, 0 },
		{ "calls", true, CUT_NEVER, 0 }, { "/req", true, CUT_NEVER, 1 },
		{ "p50 ms", true, CUT_NEVER, 3 }, { "p99", true, CUT_NEVER, 0 },
		{ "max", true, CUT_NEVER, 2 }, { "errors", true, CUT_NEVER, 0 },
	};
	struct table table = table_begin(columns, COUNT(columns));
	size_t shown = least(selection->dependency_count, limit);
	char buffer[MS_BYTES];

	for (size_t i = 0; i < shown; i++) {
		const struct dependency_summary *row = selection->dependencies[i];
		const struct summary *latency = &row->latency;

		peer_cell(&table, row);
		table_cell(&table, STYLE_PLAIN, "%s%s", row->protocol ? row->protocol : "?",
			   row->unpaired ? " unpaired" : "");
		route_cell(&table, STYLE_PLAIN, row->method, row->route, row->route_folded);
		if (row->call_site.file && row->call_site.line)
			table_cell(&table, STYLE_PLAIN, "%s:%u", row->call_site.file,
				   (unsigned)row->call_site.line);
		else
			table_cell(&table, STYLE_PLAIN, "%s",
				   row->call_site.file ? row->call_site.file : "-");
		number_cell(&table, row->calls);
		table_cell(&table, STYLE_PLAIN, "%s", rate(row->calls_per_request, buffer));
		ms_cell(&table, latency, latency->p50);
		ms_cell(&table, latency, latency->p99);
		ms_cell(&table, latency, latency->max);
		error_cell(&table, row->errors + row->failures + row->refused);
	}
	end_section(page, &table, shown, selection->dependency_count);
}

static void put_callables(struct page *page, const struct table_column *columns,
			  const struct callable_summary *const *rows, size_t count, size_t limit)
{
	struct table table = table_begin(columns, 9);
	size_t shown = least(count, limit);
	char buffer[MS_BYTES];

	for (size_t i = 0; i < shown; i++) {
		const struct callable_summary *row = rows[i];

		table_cell(&table, STYLE_PLACE, "%s", row->name ? row->name : "?");
		route_cell(&table, STYLE_PLAIN, row->method, row->route, false);
		number_cell(&table, row->calls);
		table_cell(&table, STYLE_PLAIN, "%s", rate(row->calls_per_request, buffer));
		ms_cell(&table, &row->time, row->time.p50);
		ms_cell(&table, &row->time, row->time.p99);
		ms_cell(&table, &row->time, row->time.max);
		ms_cell(&table, &row->own, row->own.p99);
		table_cell(&table, STYLE_DIM, "%s", row->sampled ? "sampled" : "exact");
	}
	end_section(page, &table, shown, count);
}

#define CALLABLE_COLUMNS(title) { \
	{ title, false, CUT_MIDDLE, 0 }, { "route", false, CUT_MIDDLE, 0 }, \
	{ "calls", true, CUT_NEVER, 0 }, { "/req", true, CUT_NEVER, 1 }, \
	{ "p50 ms", true, CUT_NEVER, 3 }, { "p99", true, CUT_NEVER, 0 }, \
	{ "max", true, CUT_NEVER, 2 }, { "own p99", true, CUT_NEVER, 0 }, \
	{ "known", false, CUT_NEVER, 4 }, \
}

struct victim_line {
	const struct route_summary *route;
	struct route_cause cause;
};

static int by_wait(const void *a, const void *b)
{
	const struct route_summary *one = ((const struct victim_line *)a)->route;
	const struct route_summary *other = ((const struct victim_line *)b)->route;
	uint64_t x = one->parts[PART_behind_others], y = other->parts[PART_behind_others];

	if (x != y)
		return x > y ? -1 : 1;
	/* both are in one array, whose order is kept */
	return one < other ? -1 : 1;
}

/* Of a route that is shown, or of a finding that is. */
static bool victim_shown(const struct selection *selection, const struct victim_line *victim)
{
	for (size_t i = 0; i < selection->finding_count; i++)
		if (selection->findings[i] == victim->cause.finding)
			return true;
	for (size_t i = 0; i < selection->route_count; i++)
		if (selection->routes[i] == victim->route)
			return true;
	return false;
}

static void put_victim(struct page *page, const struct victim_line *victim)
{
	char line[1024], p99[32];
	_cleanup_free_ char *cause = route_cause_text(&victim->cause);

	if (!cause) {
		page->error = -ENOMEM;
		return;
	}
	snprintf(line, sizeof(line), "%s%s%s p99 %s: %s",
		 victim->route->method ? victim->route->method : "",
		 victim->route->method ? " " : "",
		 victim->route->route ? victim->route->route : "?",
		 format_duration(victim->route->latency.p99, p99, sizeof(p99)), cause);
	page_wrap(page, STYLE_PLAIN, 2, "", line);
}

/* Routes that are slow because others hold the loop. */
static void put_victims(struct page *page, const struct report *report,
			const struct selection *selection, size_t limit)
{
	struct table none = { 0 };
	_cleanup_free_ struct victim_line *victims = calloc(report->route_count + 1,
							    sizeof(*victims));
	size_t count = 0, shown;

	if (!victims) {
		page->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < report->route_count; i++) {
		struct victim_line *victim = &victims[count];

		*victim = (struct victim_line){ &report->routes[i],
						route_cause_of(report, &report->routes[i]) };
		count += victim->cause.percent && victim->cause.part == PART_behind_others &&
			 victim->cause.finding && victim_shown(selection, victim);
	}
	if (!count)
		return;
	qsort(victims, count, sizeof(*victims), by_wait);
	shown = least(count, limit);
	page_put(page, STYLE_DIM, "victims");
	putc('\n', page->out);
	for (size_t i = 0; i < shown; i++)
		put_victim(page, &victims[i]);
	end_section(page, &none, shown, count);
}

void text_routes(struct page *page, const struct report *report,
		 const struct selection *selection, const struct table_limits *limits)
{
	static const struct table_column injected[] = CALLABLE_COLUMNS("injected");
	static const struct table_column middleware[] = CALLABLE_COLUMNS("middleware");

	put_routes(page, report, selection, limits->routes);
	put_from_read(page, selection);
	put_awaits(page, selection, limits->awaits);
	put_websockets(page, selection, limits->websockets);
	put_dependencies(page, selection, limits->dependencies);
	put_callables(page, injected, selection->injected, selection->injected_count,
		      limits->injected);
	put_callables(page, middleware, selection->middleware, selection->middleware_count,
		      limits->middleware);
	put_victims(page, report, selection, limits->victims);
}
