// SPDX-License-Identifier: Apache-2.0
#include "detect/finding.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name, *text;
} kinds[] = {
#define X(kind, text) [FINDING_##kind] = { #kind, text },
	FINDING_KINDS(X)
#undef X
};

static const char *const verdicts[] = {
#define X(kind) [VERDICT_##kind] = #kind,
	VERDICTS(X)
#undef X
};

const char *verdict_kind_name(enum verdict_kind kind)
{
	return verdicts[kind];
}

const char *finding_kind_name(enum finding_kind kind)
{
	return (unsigned)kind < FINDING_KIND_COUNT ? kinds[kind].name : "unknown";
}

const char *finding_text(const struct finding *finding)
{
	if (finding->kind == FINDING_lock_wait && finding->pool)
		return "requests wait for each other at a lock";
	return (unsigned)finding->kind < FINDING_KIND_COUNT ? kinds[finding->kind].text
							    : "unknown";
}

void finding_free(struct finding *finding)
{
	if (!finding)
		return;
	for (size_t i = 0; i < finding->stack_count; i++)
		free(finding->stacks[i].frames);
	free(finding->stacks);
	free(finding->processes);
	free(finding->victims);
	free(finding->pool);
	memset(finding, 0, sizeof(*finding));
}

void report_free(struct report *report)
{
	if (!report)
		return;
	for (size_t i = 0; i < report->target_count; i++) {
		free(report->targets[i].notes);
		free(report->targets[i].loops);
	}
	for (size_t i = 0; i < report->finding_count; i++)
		finding_free(&report->findings[i]);
	for (size_t i = 0; i < report->route_count; i++) {
		free(report->routes[i].statuses);
		free(report->routes[i].awaits);
		free(report->routes[i].slowest);
		free(report->routes[i].causes);
	}
	free(report->routes);
	free(report->websockets);
	free(report->dependencies);
	free(report->pools);
	free(report->verdicts);
	free(report->injected);
	free(report->middleware);
	free(report->targets);
	free(report->findings);
	free(report->losses);
	free(report->notes);
	memset(report, 0, sizeof(*report));
}
