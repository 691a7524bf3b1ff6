// SPDX-License-Identifier: Apache-2.0
/* The tasks of a dump: taken, and written as a tree or as JSON. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/dump.h"

#define BUDGET_NS (20 * NS_PER_S)
#define MAX_INDENT 40
#define TRIES 3

static int name_tasks(struct dump_target *of, const struct task_snapshot *snapshot)
{
	size_t frames = 0;
	struct frame *next;

	for (size_t i = 0; i < snapshot->count; i++)
		frames += snapshot->tasks[i].frame_count;
	of->tasks = calloc(snapshot->count + 1, sizeof(*of->tasks));
	of->task_frames = next = calloc(frames + 1, sizeof(*next));
	if (!of->tasks || !of->task_frames)
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct task_info *info = &snapshot->tasks[i];
		struct dump_task *task = &of->tasks[of->task_count++];

		task->info = info;
		task->frames = next;
		task->frame_count = code_cache_resolve(of->codes, info->frames, info->frame_count,
						       next, info->frame_count);
		next += task->frame_count;
		if (info->request)
			route_resolve(of->routes, info->request, &task->route);
		task->waits = task_wait_find(info, task->frames, task->frame_count, &task->wait);
	}
	return 0;
}

int dump_tasks(struct dump *dump, struct dump_target *of)
{
	const struct task_limits limits = { .budget_ns = BUDGET_NS };
	const struct task_snapshot *snapshot = NULL;
	int error = -EAGAIN;

	of->watch = task_watch_new(of->target, &of->config, &of->roles);
	if (!of->watch)
		return -ENOMEM;
	/* What changed whenever it was read may hold still now; all else is known already. */
	for (int try = 0; try < TRIES; try++) {
		error = task_watch_snapshot(of->watch, &limits, &snapshot);
		if (error || (!snapshot->reasons[TASK_REASON_TORN] &&
			      !snapshot->reasons[TASK_REASON_LIST]))
			break;
	}
	if (error)
		return error == -EAGAIN ? 0 : error;	/* without asyncio there are none */
	for (unsigned i = 0; i < TASK_REASON_COUNT; i++)
		dump->task_reasons[i] += snapshot->reasons[i];
	dump->tasks_dropped += snapshot->dropped;
	return name_tasks(of, snapshot);
}

/* ---- text ---------------------------------------------------------------------- */

static const char *state_of(const struct dump_task *task)
{
	return task->info->state == TASK_RUNNING ? "running" : "pending";
}

static void print_task(FILE *out, const struct dump_task *task, int indent)
{
	fprintf(out, "%*stask ", indent, "");
	dump_print_clean(out, task->info->name ? task->info->name : "?");
	fprintf(out, "  %s", state_of(task));
	if (task->waits) {
		fprintf(out, "  waits for %s", task_wait_name(task->wait.kind));
		if (task->wait.detail[0]) {
			fputs(" (", out);
			dump_print_clean(out, task->wait.detail);
			fputc(')', out);
		}
	}
	if (task->route.route) {
		fputs("  ", out);
		dump_print_clean(out, task->route.method);
		fputc(' ', out);
		dump_print_clean(out, task->route.route);
	}
	fputc('\n', out);
	dump_print_frames(out, task->frames, task->frame_count, indent + 2);
	if (task->info->end == TASK_END_CUT)
		fprintf(out, "%*s... the rest is not known\n", indent + 2, "");
}

struct visit {
	uint32_t task, depth;
};

/* A task and all that it awaits; each once. */
static int print_tree(const struct dump_target *of, FILE *out, uint32_t root, bool *seen,
		      struct visit *stack)
{
	size_t count = 0;

	stack[count++] = (struct visit){ root, 0 };
	seen[root] = true;
	while (count) {
		struct visit at = stack[--count];
		const struct task_info *info = of->tasks[at.task].info;
		int indent = 2 + 2 * (int)at.depth;

		print_task(out, &of->tasks[at.task], indent < MAX_INDENT ? indent : MAX_INDENT);
		for (size_t i = info->child_count; i-- > 0;) {
			uint32_t child = info->children[i];

			if (seen[child])
				continue;
			seen[child] = true;
			stack[count++] = (struct visit){ child, at.depth + 1 };
		}
	}
	return 0;
}

/* Awaited by a task that is printed as well. */
static bool is_awaited(const struct dump_target *of, const bool *awaited, size_t task)
{
	return awaited[task] && of->tasks[task].info->awaited_by_count;
}

int dump_tasks_text(const struct dump_target *of, FILE *out)
{
	_cleanup_free_ bool *seen = calloc(of->task_count + 1, sizeof(*seen));
	_cleanup_free_ bool *awaited = calloc(of->task_count + 1, sizeof(*awaited));
	_cleanup_free_ struct visit *stack = calloc(of->task_count + 1, sizeof(*stack));

	if (!seen || !awaited || !stack)
		return -ENOMEM;
	for (size_t i = 0; i < of->task_count; i++)
		for (size_t k = 0; k < of->tasks[i].info->child_count; k++)
			awaited[of->tasks[i].info->children[k]] = true;
	/* Those that await each other have no root: they come last. */
	for (int last = 0; last < 2; last++)
		for (size_t i = 0; i < of->task_count; i++)
			if (!seen[i] && (last || !is_awaited(of, awaited, i)))
				print_tree(of, out, (uint32_t)i, seen, stack);
	return 0;
}

/* ---- JSON ---------------------------------------------------------------------- */

static cJSON *id_of(uint64_t address)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	return cJSON_CreateString(text);
}

static cJSON *waits_of(const struct dump_target *of, const struct dump_task *task)
{
	cJSON *object, *tasks;

	if (!task->waits)
		return cJSON_CreateNull();
	object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "kind", task_wait_name(task->wait.kind));
	cJSON_AddItemToObject(object, "detail", dump_text_of(task->wait.detail));
	tasks = cJSON_AddArrayToObject(object, "tasks");
	for (size_t i = 0; i < task->info->child_count && task->wait.kind == TASK_WAIT_TASK; i++)
		cJSON_AddItemToArray(tasks, id_of(of->tasks[task->info->children[i]].info->task));
	return object;
}

static cJSON *task_of(const struct dump_target *of, const struct dump_task *task)
{
	const struct task_info *info = task->info;
	cJSON *object = cJSON_CreateObject(), *awaited_by;

	cJSON_AddItemToObject(object, "id", id_of(info->task));
	cJSON_AddItemToObject(object, "name", dump_text_of(info->name));
	cJSON_AddItemToObject(object, "loop_tid", info->loop_tid
							  ? cJSON_CreateNumber(info->loop_tid)
							  : cJSON_CreateNull());
	cJSON_AddStringToObject(object, "state", state_of(task));
	cJSON_AddItemToObject(object, "frames", dump_frames_of(task->frames, task->frame_count));
	cJSON_AddItemToObject(object, "waits_for", waits_of(of, task));
	awaited_by = cJSON_AddArrayToObject(object, "awaited_by");
	for (size_t i = 0; i < info->awaited_by_count; i++)
		cJSON_AddItemToArray(awaited_by, id_of(info->awaited_by[i]));
	cJSON_AddItemToObject(object, "route", dump_text_of(task->route.route));
	cJSON_AddItemToObject(object, "method", dump_text_of(task->route.method));
	return object;
}

/* One at a time: a tree of 100,000 of them would not fit. */
char *dump_tasks_json(const struct dump_target *of)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputc('[', out);
	for (size_t i = 0; i < of->task_count; i++) {
		cJSON *task = task_of(of, &of->tasks[i]);
		_cleanup_free_ char *line = cJSON_PrintUnformatted(task);

		cJSON_Delete(task);
		fprintf(out, "%s\n\t\t\t\t%s", i ? "," : "", line ? line : "null");
	}
	fputc(']', out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
