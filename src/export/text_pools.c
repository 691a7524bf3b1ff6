// SPDX-License-Identifier: Apache-2.0
#include "export/text_pools.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "detect/finding.h"
#include "export/text_finding.h"
#include "export/text_page.h"

#define DURATION_BYTES 32
#define SHOWN_HOLDERS 3

static void put_numbers(FILE *out, const struct pool_summary *pool)
{
	char longest[DURATION_BYTES], median[DURATION_BYTES];

	fprintf(out, "%s%s%s", pool->kind, pool->name ? " " : "", pool->name ? pool->name : "");
	if (pool->size >= 0 && pool->in_use_max >= 0)
		fprintf(out, ", up to %" PRId64 " of %" PRId64 " in use", pool->in_use_max,
			pool->size);
	if (pool->waiters_max > 0)
		fprintf(out, ", up to %" PRId64 " waiting", pool->waiters_max);
	if (pool->wait.count)
		fprintf(out, ", median wait %s, longest %s",
			format_duration(pool->wait.p50, median, sizeof(median)),
			format_duration(pool->wait.max, longest, sizeof(longest)));
}

/* Of threads the culprit is who holds them. */
static void put_holders(FILE *out, const struct finding *finding)
{
	const struct pool_summary *pool = finding->pool;
	char since[DURATION_BYTES];

	for (size_t i = 0; i < pool->holder_count && i < SHOWN_HOLDERS; i++) {
		const struct holder_summary *holder = &pool->holders[i];

		fprintf(out, "%s%s%s%s", i ? ", " : "; held at ",
			holder->place.qualname ? holder->place.qualname : "?",
			holder->route ? " of " : "", holder->route ? holder->route : "");
		if (holder->place.line)
			fprintf(out, " (line %u", holder->place.line);
		if (holder->place.line && holder->since_ns)
			fprintf(out, ", up to %s",
				format_duration(holder->since_ns, since, sizeof(since)));
		if (holder->place.line)
			putc(')', out);
	}
}

/* What is written to `out` becomes wrapped lines. */
static void put_sentence(struct page *page, const struct pool_summary *pool,
			 const struct finding *finding, unsigned indent, const char *mark)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out) {
		page->error = -ENOMEM;
		return;
	}
	put_numbers(out, pool);
	if (finding && finding->kind != FINDING_threadpool_exhaustion &&
	    finding->kind != FINDING_executor_exhaustion)
		put_holders(out, finding);
	if (fclose(out))
		page->error = -ENOMEM;
	else
		page_wrap(page, STYLE_PLAIN, indent, mark, text);
}

void text_finding_pool(struct page *page, const struct finding *finding)
{
	if (finding->pool)
		put_sentence(page, finding->pool, finding, TEXT_INDENT, "pool: ");
}

void text_pools(struct page *page, const struct report *report, size_t limit)
{
	size_t shown = report->pool_count < limit ? report->pool_count : limit;

	for (size_t i = 0; i < shown; i++)
		put_sentence(page, &report->pools[i], NULL, 0, "pool ");
	if (shown < report->pool_count)
		fprintf(page->out, "and %zu more pools, see -v or --json\n",
			report->pool_count - shown);
	if (shown)
		putc('\n', page->out);
}
