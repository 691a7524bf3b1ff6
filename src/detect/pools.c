// SPDX-License-Identifier: Apache-2.0
/* Pools of which nothing is left while somebody waits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "detect/detect.h"
#include "detect/summary.h"

/* The next of the holders seen most; -1: there is none any more. */
static int next_holder(const struct pool_row *row, const bool *taken)
{
	int best = -1;

	for (size_t i = 0; i < row->holder_count; i++)
		if (!taken[i] && (best < 0 || row->holders[i].count > row->holders[best].count))
			best = (int)i;
	return best;
}

static void fill(const struct pool_row *row, const struct distribution *wait,
		 struct pool_summary *to)
{
	bool taken[POOL_HOLDERS] = { false };
	int at;

	*to = (struct pool_summary){
		.pid = row->pid, .kind = pool_kind(row->signature), .name = row->name,
		.size = row->size, .in_use = row->in_use,
		.in_use_max = row->in_use_max, .waiters_max = row->waiters_max,
	};
	distribution_summary(wait, &to->wait);
	while (to->holder_count < POOL_SHOWN_HOLDERS && (at = next_holder(row, taken)) >= 0) {
		const struct pool_holder *from = &row->holders[at];

		taken[at] = true;
		to->holders[to->holder_count++] = (struct holder_summary){
			from->route, from->method, from->place, from->count,
			from->since_ns };
	}
}

static int by_wait(const void *a, const void *b)
{
	const struct pool_summary *one = a, *other = b;

	if (one->wait.total != other->wait.total)
		return one->wait.total > other->wait.total ? -1 : 1;
	return one->waiters_max > other->waiters_max ? -1 : one->waiters_max < other->waiters_max;
}

int pools_fill(const struct detect_input *input, struct report *report)
{
	const struct pool_rows *rows = &input->window->pools;

	report->pools = calloc(rows->count + 1, sizeof(*report->pools));
	if (!report->pools)
		return -ENOMEM;
	for (size_t i = 0; i < rows->count; i++)
		fill(rows->items[i], &rows->items[i]->wait, &report->pools[report->pool_count++]);
	qsort(report->pools, report->pool_count, sizeof(*report->pools), by_wait);
	return 0;
}

/* ---- findings ------------------------------------------------------------------ */

/* Occurrences are added from several sites. */
struct gathering {
	const struct detect_input *input;
	struct finding *finding;
	struct distribution waits;
};

static int merge(struct distribution *to, const struct distribution *from)
{
	struct summary summary;
	int error = 0;

	if (from->count <= DISTRIBUTION_EXACT) {
		for (uint64_t i = 0; i < from->count && !error; i++)
			error = distribution_add(to, from->items[i]);
		return error;
	}
	/* so many that the shape is enough */
	distribution_summary(from, &summary);
	for (uint64_t i = 0; i < from->count && !error; i++)
		error = distribution_add(to, i * 100 < from->count * 50	  ? summary.p50
					     : i * 100 < from->count * 90 ? summary.p90
									  : summary.p99);
	return error;
}

static int take_site(struct gathering *to, const struct pool_site *site, pid_t pid)
{
	uint64_t offset = (uint64_t)to->input->realtime_offset_ns;
	struct finding *finding = to->finding;
	int error = merge(&to->waits, &site->late);

	finding->count += site->late.count;
	finding->requests += site->requests;
	finding->samples += site->samples;
	finding->ongoing |= site->ongoing;
	if (!finding->first_ns || site->first_ns + offset < finding->first_ns)
		finding->first_ns = site->first_ns + offset;
	if (site->last_ns + offset > finding->last_ns)
		finding->last_ns = site->last_ns + offset;
	for (uint64_t i = 0; i < site->late.count && !error; i++)
		error = process_add(finding, pid);
	return error;
}

/* Others that wait for what it holds. */
static int add_victim(struct finding *finding, const struct pool_site *site)
{
	struct victim *items;

	for (size_t i = 0; i < finding->victim_count; i++) {
		struct victim *victim = &finding->victims[i];

		if (!text_same(victim->route, site->route) ||
		    !text_same(victim->method, site->method))
			continue;
		victim->requests += site->requests;
		victim->total_ns += site->late.total_ns;
		if (site->late.max_ns > victim->max_ns)
			victim->max_ns = site->late.max_ns;
		return 0;
	}
	items = realloc(finding->victims, (finding->victim_count + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	finding->victims = items;
	items[finding->victim_count++] = (struct victim){ site->route, site->method, site->requests,
							  site->late.max_ns, site->late.total_ns };
	return 0;
}

static int begin(struct gathering *to, struct findings *findings, enum finding_kind kind)
{
	to->finding = findings_add(findings, kind);
	if (!to->finding)
		return -ENOMEM;
	to->finding->evidence = EVIDENCE_SAMPLED;
	to->finding->pool = calloc(1, sizeof(*to->finding->pool));
	if (!to->finding->pool)
		return -ENOMEM;
	return 0;
}

static void finish(struct gathering *to, const struct pool_row *row)
{
	if (to->finding && to->finding->pool) {
		fill(row, &to->waits, to->finding->pool);
		/* of the moments that it is about, not of the last one */
		to->finding->pool->in_use = row->in_use_max;
		distribution_summary(&to->waits, &to->finding->duration);
		finding_finish(to->input, to->finding);
	}
	distribution_free(&to->waits);
}

static bool same_function(const struct place *a, const struct place *b)
{
	return text_same(a->file, b->file) && text_same(a->qualname, b->qualname);
}

static bool same_pool(const struct pool_row *a, const struct pool_row *b)
{
	return pool_kind(a->signature) == pool_kind(b->signature) && text_same(a->name, b->name);
}

/* Seen most of those that do not only wait themselves. */
static const struct pool_holder *main_holder(const struct pool_row *row)
{
	bool taken[POOL_HOLDERS];
	int at;

	for (size_t i = 0; i < row->holder_count; i++)
		taken[i] = row->holders[i].waits;
	at = next_holder(row, taken);
	return at < 0 ? NULL : &row->holders[at];
}

/* Does its route wait for connections for too long? */
static bool lacks_connections(const struct pool_rows *rows, pid_t pid,
			      const struct pool_holder *holder)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct pool_row *row = rows->items[i];

		if (row->pid != pid || !pool_of_threads(row->signature))
			continue;
		for (size_t k = 0; k < row->site_count; k++)
			if (row->sites[k].late.count &&
			    text_same(row->sites[k].route, holder->route) &&
			    text_same(row->sites[k].method, holder->method))
				return true;
	}
	return false;
}

/*
 * Threads that are taken because of an empty pool of connections: some wait for it, and most
 * of them run what waits for it now and then.  More threads would wait as well.
 */
static bool is_consequence(const struct pool_rows *rows, const struct pool_row *row)
{
	uint64_t waits = 0, lack = 0, all = 0;

	for (size_t i = 0; i < row->holder_count; i++) {
		const struct pool_holder *holder = &row->holders[i];

		all += holder->count;
		waits += holder->waits ? holder->count : 0;
		if (holder->waits || lacks_connections(rows, row->pid, holder))
			lack += holder->count;
	}
	return waits && lack * 2 > all;
}

static bool same_holder(const struct pool_holder *a, const struct pool_holder *b)
{
	if (!a || !b)
		return a == b;
	return text_same(a->route, b->route) && text_same(a->method, b->method) &&
	       same_function(&a->place, &b->place);
}

/* Who waits for a pool of threads, apart from the route that occupies them. */
static int take_occupied(struct gathering *to, struct findings *findings, enum finding_kind kind,
			 const struct pool_row *row)
{
	const struct pool_holder *holder = main_holder(row);
	int error = 0;

	for (size_t i = 0; i < row->site_count && !error; i++) {
		const struct pool_site *site = &row->sites[i];

		if (!site->late.count)
			continue;
		if (!to->finding) {
			error = begin(to, findings, kind);
			if (!error && holder) {
				to->finding->culprit = holder->place;
				to->finding->route = holder->route;
				to->finding->method = holder->method;
				to->finding->route_folded = holder->folded;
			}
		}
		if (!error)
			error = take_site(to, site, row->pid);
		if (!error && (!text_same(site->route, to->finding->route) ||
			       !text_same(site->method, to->finding->method)))
			error = add_victim(to->finding, site);
	}
	return error;
}

/* Threads: a finding about what occupies most of them, in all processes together. */
static int find_occupied(const struct detect_input *input, struct findings *findings,
			 enum finding_kind kind, size_t first)
{
	const struct pool_rows *rows = &input->window->pools;
	const struct pool_row *row = rows->items[first];
	struct gathering to = { .input = input };
	int error = 0;

	for (size_t i = 0; i < rows->count && !error; i++) {
		if (!same_pool(rows->items[i], row) ||
		    !same_holder(main_holder(rows->items[i]), main_holder(row)))
			continue;
		if (i < first)
			return 0; /* it is in that one's */
		if (!is_consequence(rows, rows->items[i]))
			error = take_occupied(&to, findings, kind, rows->items[i]);
	}
	finish(&to, row);
	return error;
}

static bool same_site(const struct pool_site *a, const struct pool_site *b)
{
	return text_same(a->route, b->route) && text_same(a->method, b->method) &&
	       same_function(&a->place, &b->place);
}

/* Waits of one function of one route, the lines of it and all processes together. */
static int find_site(const struct detect_input *input, struct findings *findings,
		     enum finding_kind kind, size_t first, const struct pool_site *of)
{
	const struct pool_rows *rows = &input->window->pools;
	const struct pool_row *row = rows->items[first];
	struct gathering to = { .input = input };
	uint64_t most = 0;
	int error = 0;

	for (size_t i = 0; i < rows->count && !error; i++) {
		const struct pool_row *other = rows->items[i];

		for (size_t k = 0; k < other->site_count && !error; k++) {
			const struct pool_site *site = &other->sites[k];

			if (!site->late.count || !same_pool(other, row) || !same_site(site, of))
				continue;
			if (!to.finding && site != of)
				return 0; /* it is in that one's */
			if (!to.finding)
				error = begin(&to, findings, kind);
			if (!error && site->late.total_ns > most) {
				most = site->late.total_ns;
				to.finding->culprit = site->place;
			}
			if (!error)
				error = take_site(&to, site, other->pid);
		}
	}
	if (to.finding) {
		to.finding->route = of->route;
		to.finding->method = of->method;
		to.finding->route_folded = of->folded;
	}
	if (to.finding && kind == FINDING_lock_wait &&
	    to.finding->count < input->thresholds->convoy_waits) {
		finding_free(to.finding);
		findings->count--;
		to.finding = NULL;
	}
	finish(&to, row);
	return error;
}

static int find_waiting(const struct detect_input *input, struct findings *findings,
			enum finding_kind kind, size_t first)
{
	const struct pool_row *row = input->window->pools.items[first];
	int error = 0;

	for (size_t i = 0; i < row->site_count && !error; i++)
		if (row->sites[i].late.count)
			error = find_site(input, findings, kind, first, &row->sites[i]);
	return error;
}

bool finding_is_of_site(const struct finding *finding, const struct pool_row *row,
			const struct pool_site *site)
{
	enum pool_class class = pool_class(row->signature);
	const struct pool_holder *holder = main_holder(row);
	struct place culprit = { .file = finding->culprit.file,
				 .qualname = finding->culprit.qualname };

	if (!finding->pool || finding->pool->kind != pool_kind(row->signature) ||
	    !text_same(finding->pool->name, row->name))
		return false;
	if (class == POOL_THREADS || class == POOL_EXECUTOR)
		return holder ? text_same(finding->route, holder->route) &&
					text_same(finding->method, holder->method) &&
					same_function(&culprit, &holder->place)
			      : !finding->culprit.file;
	return text_same(finding->route, site->route) && text_same(finding->method, site->method) &&
	       same_function(&culprit, &site->place);
}

static int find_class(const struct detect_input *input, struct findings *findings,
		      enum finding_kind kind, enum pool_class class)
{
	const struct pool_rows *rows = &input->window->pools;
	bool threads = class == POOL_THREADS || class == POOL_EXECUTOR;
	int error = 0;

	for (size_t i = 0; i < rows->count && !error; i++)
		if (pool_class(rows->items[i]->signature) == class)
			error = threads ? find_occupied(input, findings, kind, i)
					: find_waiting(input, findings, kind, i);
	return error;
}

int find_threadpool_exhaustion(const struct detect_input *input, struct findings *findings)
{
	return find_class(input, findings, FINDING_threadpool_exhaustion, POOL_THREADS);
}

int find_executor_exhaustion(const struct detect_input *input, struct findings *findings)
{
	return find_class(input, findings, FINDING_executor_exhaustion, POOL_EXECUTOR);
}

int find_db_pool_exhaustion(const struct detect_input *input, struct findings *findings)
{
	return find_class(input, findings, FINDING_db_pool_exhaustion, POOL_DATABASE);
}

int find_http_pool_exhaustion(const struct detect_input *input, struct findings *findings)
{
	return find_class(input, findings, FINDING_http_pool_exhaustion, POOL_HTTP);
}

int find_lock_convoy(const struct detect_input *input, struct findings *findings)
{
	return find_class(input, findings, FINDING_lock_wait, POOL_LOCK);
}
