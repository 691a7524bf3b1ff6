// SPDX-License-Identifier: Apache-2.0
/* The report as JSON; the contract is src/export/report.schema.json. */
#include <errno.h>

#include "base/units.h"
#include "base/version.h"
#include "detect/finding.h"
#include "export/exporter.h"
#include "export/formats.h"
#include "export/json_builder.h"
#include "export/json_pools.h"
#include "export/json_routes.h"
#include "export/select.h"
#include "export/verdicts.h"

static const char *const severities[] = {
	[SEVERITY_WARNING] = "warning",
	[SEVERITY_CRITICAL] = "critical",
};

static const char *const evidences[] = {
	[EVIDENCE_EXACT] = "exact",
	[EVIDENCE_SAMPLED] = "sampled",
	[EVIDENCE_INCOMPLETE] = "incomplete",
};

static void put_target(struct builder *builder, cJSON *targets,
		       const struct target_summary *target)
{
	cJSON *object = put_object(builder, targets, NULL), *array;

	put_number(builder, object, "pid", (uint64_t)target->pid);
	put_time(builder, object, "start_time", target->start_ns);
	put_text(builder, object, "cmdline", target->cmdline);
	put_text(builder, object, "python", target->python);
	put_text(builder, object, "server", target->server);
	put_text(builder, object, "loop", target->loop_kind);
	put_null(builder, object, "container");
	put_null(builder, object, "pod");
	array = put_array(builder, object, "notes");
	for (size_t i = 0; i < target->note_count; i++)
		put_text(builder, array, NULL, target->notes[i]);
	array = put_array(builder, object, "loops");
	for (size_t i = 0; i < target->loop_count; i++) {
		const struct loop_summary *loop = &target->loops[i];
		cJSON *item = put_object(builder, array, NULL);

		put_number(builder, item, "tid", (uint64_t)loop->tid);
		put_number(builder, item, "steps", loop->steps);
		put_double(builder, item, "busy_ratio", loop->busy_ratio, 4);
		put_summary(builder, item, "step_ms", &loop->step);
	}
}

static void put_stacks(struct builder *builder, cJSON *parent, const struct finding *finding)
{
	cJSON *stacks = put_array(builder, parent, "stacks");

	for (size_t i = 0; i < finding->stack_count; i++) {
		const struct stack_summary *stack = &finding->stacks[i];
		cJSON *object = put_object(builder, stacks, NULL), *frames;

		put_number(builder, object, "count", stack->count);
		put_bool(builder, object, "truncated", stack->truncated);
		frames = put_array(builder, object, "frames");
		for (size_t j = 0; j < stack->frame_count; j++)
			put_location(builder, frames, NULL, &stack->frames[j], LOCATION_ALL);
	}
}

static void put_others(struct builder *builder, cJSON *parent, const struct finding *finding)
{
	cJSON *array = put_array(builder, parent, "processes"), *object;

	for (size_t i = 0; i < finding->process_count; i++) {
		object = put_object(builder, array, NULL);
		put_number(builder, object, "pid", (uint64_t)finding->processes[i].pid);
		put_number(builder, object, "count", finding->processes[i].count);
	}
	array = put_array(builder, parent, "victims");
	for (size_t i = 0; i < finding->victim_count; i++) {
		const struct victim *victim = &finding->victims[i];

		object = put_object(builder, array, NULL);
		put_text(builder, object, "route", victim->route);
		put_text(builder, object, "method", victim->method);
		put_number(builder, object, "requests", victim->requests);
		put_delay(builder, object, victim->max_ns, victim->total_ns);
	}
}

static void put_finding(struct builder *builder, cJSON *findings, const struct finding *finding)
{
	cJSON *object = put_object(builder, findings, NULL), *owner, *duration;

	put_text(builder, object, "id", finding->id);
	put_text(builder, object, "kind", finding_kind_name(finding->kind));
	put_text(builder, object, "severity", severities[finding->severity]);
	put_text(builder, object, "route", finding->route);
	put_text(builder, object, "method", finding->method);
	put_location(builder, object, "culprit", &finding->culprit, LOCATION_ALL);
	owner = put_object(builder, object, "owner");
	put_text(builder, owner, "task", finding->owner_task);
	put_text(builder, owner, "thread", finding->owner_thread);
	put_location(builder, object, "library_frame", &finding->library, LOCATION_QUALNAME);
	put_text(builder, object, "native_frame", finding->native_frame);
	put_text(builder, object, "syscall", finding->syscall);
	put_text(builder, object, "detail", finding->detail);
	put_bool(builder, object, "blocks_loop", finding->blocks_loop);
	put_number(builder, object, "count", finding->count);
	put_number(builder, object, "requests", finding->requests);
	put_number(builder, object, "calls", finding->calls);
	put_number(builder, object, "samples", finding->samples);
	duration = put_summary(builder, object, "duration_ms", &finding->duration);
	put_ms(builder, duration, "total", finding->duration.total);
	put_summary(builder, object, "loop_lag_ms", &finding->loop_lag);
	put_time(builder, object, "first", finding->first_ns);
	put_time(builder, object, "last", finding->last_ns);
	put_bool(builder, object, "ongoing", finding->ongoing);
	put_bool(builder, object, "since_before", finding->since_before);
	put_others(builder, object, finding);
	put_text(builder, object, "peer", finding->peer);
	json_put_finding_pool(builder, object, finding);
	if (finding->calls_per_request)
		put_number(builder, object, "calls_per_request", finding->calls_per_request);
	else
		put_null(builder, object, "calls_per_request");
	put_numbers(builder, object, "calls_per_request_dist", &finding->per_request);
	put_text(builder, object, "statement", finding->statement);
	put_text(builder, object, "evidence", evidences[finding->evidence]);
	put_stacks(builder, object, finding);
	put_text(builder, object, "advice", finding->advice);
}

static void put_head(struct builder *builder, cJSON *root, const struct report *report)
{
	uint64_t length = report->end_ns > report->start_ns ? report->end_ns - report->start_ns : 0;
	cJSON *object;

	put_text(builder, root, "schema", "loopscope.report/1");
	object = put_object(builder, root, "loopscope");
	put_text(builder, object, "version", LOOPSCOPE_VERSION);
	object = put_object(builder, root, "window");
	put_time(builder, object, "start", report->start_ns);
	put_time(builder, object, "end", report->end_ns);
	put_decimal(builder, object, "duration_s", length / NS_PER_MS, 3);
	object = put_object(builder, root, "host");
	put_text(builder, object, "kernel", report->kernel);
	put_text(builder, object, "arch", report->arch);
}

static void put_tail(struct builder *builder, cJSON *root, const struct report *report)
{
	cJSON *object = put_object(builder, root, "loss"), *lost, *counters;

	put_number(builder, object, "produced", report->produced);
	put_number(builder, object, "received", report->received);
	lost = put_object(builder, object, "lost");
	for (size_t i = 0; i < report->loss_count; i++)
		put_number(builder, lost, report->losses[i].name, report->losses[i].count);
	object = put_object(builder, root, "self");
	put_double(builder, object, "cpu_s", report->self_cpu_s, 6);
	if (report->self_rss_bytes)
		put_number(builder, object, "rss_bytes", report->self_rss_bytes);
	else
		put_null(builder, object, "rss_bytes");
	put_double(builder, object, "bpf_cpu_s", report->bpf_cpu_s, 6);
	counters = put_object(builder, object, "counters");
	for (size_t i = 0; i < report->note_count; i++)
		put_number(builder, counters, report->notes[i].name, report->notes[i].count);
}

/* Who made whom wait: a row for each finding that is shown and each of its victims. */
static void put_matrix(struct builder *builder, cJSON *root, const struct selection *selection)
{
	cJSON *matrix = put_array(builder, root, "matrix");

	for (size_t i = 0; i < selection->finding_count; i++) {
		const struct finding *finding = selection->findings[i];

		for (size_t k = 0; k < finding->victim_count; k++) {
			const struct victim *victim = &finding->victims[k];
			cJSON *object = put_object(builder, matrix, NULL), *who;

			put_text(builder, object, "finding", finding->id);
			who = put_object(builder, object, "victim");
			put_text(builder, who, "route", victim->route);
			put_text(builder, who, "method", victim->method);
			put_number(builder, object, "requests", victim->requests);
			put_delay(builder, object, victim->max_ns, victim->total_ns);
		}
	}
}

static void put_report(struct builder *builder, cJSON *root, const struct report *report,
		       const struct selection *selection)
{
	cJSON *array;

	put_head(builder, root, report);
	array = put_array(builder, root, "targets");
	for (size_t i = 0; i < report->target_count; i++)
		put_target(builder, array, &report->targets[i]);
	json_put_routes(builder, root, report, selection);
	json_put_pools(builder, root, report);
	array = put_array(builder, root, "findings");
	for (size_t i = 0; i < selection->finding_count; i++)
		put_finding(builder, array, selection->findings[i]);
	put_matrix(builder, root, selection);
	json_put_verdicts(builder, root, report);
	put_tail(builder, root, report);
}

int json_write(const struct report *report, const struct export_options *options, FILE *out)
{
	struct builder builder = { 0 };
	struct selection selection;
	char *text = NULL;
	cJSON *root;
	int err;

	err = selection_make(report, options, &selection);
	if (err)
		return err;
	root = cJSON_CreateObject();
	if (!root)
		builder.error = -ENOMEM;
	else
		put_report(&builder, root, report, &selection);
	if (!builder.error)
		text = cJSON_Print(root);
	if (!builder.error && !text)
		builder.error = -ENOMEM;
	cJSON_Delete(root);
	selection_free(&selection);
	if (text && (fputs(text, out) == EOF || putc('\n', out) == EOF))
		builder.error = -EIO;
	cJSON_free(text);
	return builder.error;
}
