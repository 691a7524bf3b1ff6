// SPDX-License-Identifier: Apache-2.0
#include "aggregate/callables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/vec.h"

/* "Class" of "Class.dispatch". */
static const char *class_of(const struct place *place)
{
	const char *dot = place->qualname ? strrchr(place->qualname, '.') : NULL;

	return dot ? intern_bytes(place->qualname, (size_t)(dot - place->qualname))
		   : place->qualname;
}

static struct callable_row *row_of(struct callable_rows *rows,
				   const struct served_request *request, const char *name,
				   bool middleware)
{
	struct callable_row *row;

	for (size_t i = 0; i < rows->count; i++) {
		row = rows->items[i];
		if (row->middleware == middleware && row->name == name &&
		    row->route == request->route.route &&
		    row->method == request->route.method)
			return row;
	}
	if (vec_reserve((void **)&rows->items, &rows->capacity, rows->count + 1,
			sizeof(*rows->items), CALLABLES_MAX)) {
		rows->lost++;
		return NULL;
	}
	row = calloc(1, sizeof(*row));
	if (!row)
		return NULL;
	row->name = name;
	row->route = request->route.route;
	row->method = request->route.method;
	row->folded = request->route.folded;
	row->middleware = middleware;
	rows->items[rows->count++] = row;
	return row;
}

static void note_line(struct callable_row *row, const struct callable_time *time)
{
	size_t i = 0;

	if (!time->place.file)
		return;
	while (i < row->line_count && row->lines[i].place.line != time->place.line)
		i++;
	if (i == CALLABLE_LINES)
		return;
	if (i == row->line_count)
		row->lines[row->line_count++].place = time->place;
	row->lines[i].ns += time->own_ns;
}

static void note_process(struct callable_row *row, const struct served_request *request)
{
	size_t i = 0;

	if (!row->first_ns)
		row->first_ns = request->start_ns;
	row->last_ns = request->end_ns;
	while (i < row->pid_count && row->pids[i] != request->pid)
		i++;
	if (i == row->pid_count && i < sizeof(row->pids) / sizeof(*row->pids))
		row->pids[row->pid_count++] = request->pid;
}

static int add(const struct callable_rows *rows, struct callable_row *row,
	       const struct served_request *request, const struct callable_time *time)
{
	unsigned executions = time->executions ? time->executions : 1;
	uint64_t latency = request->end_ns - request->start_ns;
	uint64_t each = time->blamed_ns / executions;
	int error;

	row->requests++;
	row->executions += executions;
	if (!time->total_ns)
		return 0;
	row->exact |= time->exact;
	note_line(row, time);
	error = distribution_add(&row->time, time->total_ns / executions) ?:
		distribution_add(&row->own, time->own_ns / executions);
	if (!error && each >= rows->slow_ns &&
	    time->blamed_ns >= latency / 100 * rows->share && !row->middleware) {
		note_process(row, request);
		slow_log_callable(rows->slow_log, row, request, each * executions);
		error = distribution_add(&row->slow, each);
	}
	if (!error && executions >= rows->repeats && time->blamed_ns >= rows->repeat_ns) {
		note_process(row, request);
		error = distribution_add(&row->repeats, executions) ?:
			distribution_add(&row->repeat_time, time->blamed_ns);
	}
	return error;
}

int callables_request(struct callable_rows *rows, const struct served_request *request)
{
	for (size_t i = 0; i < request->callable_count; i++) {
		const struct callable_time *time = &request->callables[i];
		bool middleware = !time->dependant;
		struct callable_row *row;
		int error;

		row = row_of(rows, request,
			     middleware ? class_of(&time->place) : time->dependant->name,
			     middleware);
		error = row ? add(rows, row, request, time) : 0;
		if (error)
			return error;
	}
	return 0;
}

void callables_free(struct callable_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		distribution_free(&rows->items[i]->time);
		distribution_free(&rows->items[i]->own);
		distribution_free(&rows->items[i]->slow);
		distribution_free(&rows->items[i]->repeats);
		distribution_free(&rows->items[i]->repeat_time);
		free(rows->items[i]);
	}
	free(rows->items);
	memset(rows, 0, sizeof(*rows));
}
