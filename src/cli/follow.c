// SPDX-License-Identifier: Apache-2.0
#include "cli/follow.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "attribute/activity.h"
#include "attribute/attribute.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "export/clean.h"
#include "resolve/syscalls.h"

static const char *const kinds[] = {
	[ACTIVITY_CALL] = "call",
	[ACTIVITY_SAMPLE] = "sample",
	[ACTIVITY_HOLDER] = "holder",
	[ACTIVITY_GIL_WAIT] = "gil_wait",
	[ACTIVITY_PAGE_FAULT] = "page_fault",
	[ACTIVITY_STEP] = "step",
};

static const char *what_of(const struct activity *activity)
{
	const char *name = syscall_name(activity->number);

	return name ? name : activity->native;
}

/* Strings of the target may hold any bytes. */
static void print_clean(FILE *out, const char *text)
{
	_cleanup_free_ char *clean = clean_text(text, CLEAN_PRINT);

	fputs(clean ? clean : "?", out);
}

/* "stalled 1.02 s  POST /report  app/report.py:42 build_report  (clock_nanosleep)" */
static void print_activity(FILE *out, const char *verb, const struct activity *activity)
{
	char length[32];

	fprintf(out, "%s %s", verb, format_duration(activity->duration_ns, length, sizeof(length)));
	if (activity->route.route) {
		fprintf(out, "  %s ", activity->route.method ? activity->route.method : "?");
		print_clean(out, activity->route.route);
	} else if (activity->owner_task) {
		fputs("  task ", out);
		print_clean(out, activity->owner_task);
	}
	if (activity->culprit.file) {
		fputs("  ", out);
		print_clean(out, activity->culprit.file);
		fprintf(out, ":%u ", activity->culprit.line);
		print_clean(out, activity->culprit.qualname);
	}
	if (what_of(activity))
		fprintf(out, "  (%s)", what_of(activity));
}

static void add_text(cJSON *object, const char *name, const char *text)
{
	_cleanup_free_ char *clean = clean_text(text, CLEAN_UTF8);

	if (clean)
		cJSON_AddStringToObject(object, name, clean);
	else
		cJSON_AddNullToObject(object, name);
}

static void add_ms(cJSON *object, const char *name, uint64_t ns)
{
	cJSON_AddNumberToObject(object, name, (double)(ns / 1000) / 1000.0);
}

/* Where the time of a step went; the parts add up to its duration. */
static void add_parts(cJSON *object, const struct step_parts *parts)
{
	cJSON *to = cJSON_AddObjectToObject(object, "parts_ms");

	if (!to)
		return;
	add_ms(to, "cpu_user", parts->cpu_user_ns);
	add_ms(to, "cpu_kernel", parts->cpu_kernel_ns);
	add_ms(to, "calls", parts->calls_ns);
	add_ms(to, "gil", parts->gil_ns);
	add_ms(to, "runnable", parts->runnable_ns);
	add_ms(to, "page_faults", parts->page_fault_ns);
	add_ms(to, "stopped", parts->stopped_ns);
}

static void print_json(const struct activity *activity)
{
	cJSON *object = cJSON_CreateObject();
	char time[40], *text;

	if (!object)
		return;
	format_time(realtime_ns() - monotonic_ns() + activity->time_ns, time, sizeof(time));
	add_text(object, "kind", kinds[activity->kind]);
	add_text(object, "time", time);
	cJSON_AddNumberToObject(object, "pid", activity->pid);
	cJSON_AddNumberToObject(object, "tid", activity->tid);
	add_ms(object, "duration_ms", activity->duration_ns);
	cJSON_AddBoolToObject(object, "ongoing", activity->ongoing);
	add_text(object, "route", activity->route.route);
	add_text(object, "method", activity->route.method);
	add_text(object, "task", activity->owner_task);
	add_text(object, "file", activity->culprit.file);
	add_text(object, "qualname", activity->culprit.qualname);
	cJSON_AddNumberToObject(object, "line", activity->culprit.line);
	add_text(object, "syscall", syscall_name(activity->number));
	add_text(object, "peer", activity->peer);
	if (activity->kind == ACTIVITY_STEP && activity->step)
		add_parts(object, &activity->step->parts);
	text = cJSON_PrintUnformatted(object);
	if (text) {
		puts(text);
		fflush(stdout);
	}
	free(text);
	cJSON_Delete(object);
}

void follow_activity(void *context, const struct activity *activity)
{
	const struct follow *follow = context;

	if (activity->duration_ns < follow->stall_ns || activity->own_work ||
	    (activity->kind == ACTIVITY_CALL && !call_blocks(activity)) ||
	    (activity->kind != ACTIVITY_CALL && activity->kind != ACTIVITY_PAGE_FAULT &&
	     activity->kind != ACTIVITY_GIL_WAIT && activity->kind != ACTIVITY_STEP))
		return;
	if (follow->json) {
		print_json(activity);
		return;
	}
	print_activity(stdout, kinds[activity->kind], activity);
	if (activity->ongoing)
		fputs("  still going on", stdout);
	putchar('\n');
	fflush(stdout);
}

void follow_stall(void *context, const struct activity *activity, bool ended)
{
	char length[32];

	(void)context;
	print_activity(stderr, "stalled", activity);
	if (ended)
		fputs("  over", stderr);
	if (activity->flags & EVENT_F_SINCE_BEFORE)
		fprintf(stderr, "%s held for at least %s, since before the attach",
			ended ? "," : " ",
			format_duration(activity->duration_ns, length, sizeof(length)));
	fputc('\n', stderr);
}
