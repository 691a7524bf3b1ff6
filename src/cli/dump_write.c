// SPDX-License-Identifier: Apache-2.0
/* A dump as text and as JSON ("loopscope.dump/1"). */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/dump.h"
#include "export/clean.h"

static const struct {
	const char *name, *text;
} reasons[] = {
#define X(name, text) { #name, text },
	DUMP_REASONS(X)
#undef X
}, task_reasons[] = {
#define X(id, name, text) { name, text },
	TASK_REASONS(X)
#undef X
};

static int end_of(FILE *out)
{
	return fflush(out) || ferror(out) ? -EIO : 0;
}

void dump_print_clean(FILE *out, const char *text)
{
	_cleanup_free_ char *clean = clean_text(text, CLEAN_PRINT);

	fputs(clean ? clean : "?", out);
}

void dump_print_frames(FILE *out, const struct frame *frames, size_t count, int indent)
{
	for (size_t i = 0; i < count; i++) {
		const struct frame *frame = &frames[i];

		fprintf(out, "%*s", indent, "");
		dump_print_clean(out, frame->code->qualname[0] ? frame->code->qualname
							       : frame->code->function);
		fputs("  ", out);
		dump_print_clean(out, frame->code->file);
		if (frame->line)
			fprintf(out, ":%u", frame->line);
		fputc('\n', out);
	}
}

static void print_thread(FILE *out, const struct dump_thread *thread)
{
	fprintf(out, "  thread %d  ", thread->tid);
	dump_print_clean(out, thread->name);
	fprintf(out, "  %s", thread->state);
	if (thread->syscall)
		fprintf(out, " (%s)", thread->syscall);
	if (thread->route.route) {
		fputs("  ", out);
		dump_print_clean(out, thread->route.method);
		fputc(' ', out);
		dump_print_clean(out, thread->route.route);
	}
	if (thread->task) {
		fputs("  task ", out);
		dump_print_clean(out, thread->task);
	}
	fputs(thread->torn ? "  (ran on meanwhile: the stack may be torn)\n" : "\n", out);
	dump_print_frames(out, thread->frames, thread->frame_count, 4);
	if (thread->end == STACK_TRUNCATED)
		fputs("    ... deeper than what is kept\n", out);
	else if (thread->end == STACK_FAULT)
		fputs("    ... not readable from here on\n", out);
}

int dump_write_text(const struct dump *dump, FILE *out)
{
	for (size_t i = 0; i < dump->targets.count; i++) {
		const struct dump_target *of = dump->targets.items[i];

		fprintf(out, "%spid %d  python %s", i ? "\n" : "", of->target->pid, of->python);
		if (of->target->server) {
			fputs("  ", out);
			dump_print_clean(out, of->target->server);
		}
		if (dump_loop_kind(of->target))
			fprintf(out, "  %s", dump_loop_kind(of->target));
		fputc('\n', out);
		for (size_t k = 0; k < of->threads.count; k++)
			print_thread(out, &of->threads.items[k]);
		if (dump_tasks_text(of, out))
			return -ENOMEM;
	}
	for (unsigned i = 0; i < DUMP_REASON_COUNT; i++)
		if (dump->reasons[i])
			fprintf(out, "partial: %u %s\n", dump->reasons[i], reasons[i].text);
	for (unsigned i = 0; i < TASK_REASON_COUNT; i++)
		if (dump->task_reasons[i])
			fprintf(out, "partial: %u %s\n", dump->task_reasons[i],
				task_reasons[i].text);
	return end_of(out);
}

/* Strings of a target may hold any bytes; NULL is null. */
cJSON *dump_text_of(const char *text)
{
	_cleanup_free_ char *clean = clean_text(text, CLEAN_UTF8);

	return clean ? cJSON_CreateString(clean) : cJSON_CreateNull();
}

cJSON *dump_frames_of(const struct frame *frames, size_t count)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; i < count; i++) {
		const struct frame *frame = &frames[i];
		cJSON *object = cJSON_CreateObject();

		cJSON_AddItemToObject(object, "file", dump_text_of(frame->code->file));
		cJSON_AddItemToObject(object, "function", dump_text_of(frame->code->function));
		cJSON_AddItemToObject(object, "qualname", dump_text_of(frame->code->qualname));
		cJSON_AddItemToObject(object, "line", frame->line
								? cJSON_CreateNumber(frame->line)
								: cJSON_CreateNull());
		cJSON_AddItemToArray(list, object);
	}
	return list;
}

static cJSON *thread_of(const struct dump_thread *thread)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddNumberToObject(object, "tid", thread->tid);
	cJSON_AddItemToObject(object, "name", dump_text_of(thread->name));
	cJSON_AddStringToObject(object, "state", thread->state);
	cJSON_AddItemToObject(object, "syscall", dump_text_of(thread->syscall));
	cJSON_AddItemToObject(object, "frames",
			      dump_frames_of(thread->frames, thread->frame_count));
	cJSON_AddItemToObject(object, "task", dump_text_of(thread->task));
	cJSON_AddItemToObject(object, "route", dump_text_of(thread->route.route));
	cJSON_AddItemToObject(object, "method", dump_text_of(thread->route.method));
	return object;
}

static cJSON *target_of(const struct dump_target *of)
{
	cJSON *object = cJSON_CreateObject(), *threads = cJSON_CreateArray();
	_cleanup_free_ char *tasks = NULL;

	cJSON_AddNumberToObject(object, "pid", of->target->pid);
	cJSON_AddItemToObject(object, "python", dump_text_of(of->python));
	cJSON_AddItemToObject(object, "server", dump_text_of(of->target->server));
	cJSON_AddItemToObject(object, "loop", dump_text_of(dump_loop_kind(of->target)));
	cJSON_AddItemToObject(object, "threads", threads);
	for (size_t i = 0; i < of->threads.count; i++)
		cJSON_AddItemToArray(threads, thread_of(&of->threads.items[i]));
	tasks = dump_tasks_json(of);
	cJSON_AddItemToObject(object, "tasks", cJSON_CreateRaw(tasks ? tasks : "[]"));
	return object;
}

int dump_write_json(const struct dump *dump, FILE *out)
{
	cJSON *root = cJSON_CreateObject(), *targets = cJSON_CreateArray(), *partial, *counts;
	_cleanup_free_ char *text = NULL;
	char time[40];

	cJSON_AddStringToObject(root, "schema", "loopscope.dump/1");
	cJSON_AddStringToObject(root, "time", format_time(dump->realtime_ns, time, sizeof(time)));
	cJSON_AddItemToObject(root, "targets", targets);
	for (size_t i = 0; i < dump->targets.count; i++)
		cJSON_AddItemToArray(targets, target_of(dump->targets.items[i]));
	partial = cJSON_AddObjectToObject(root, "partial");
	cJSON_AddNumberToObject(partial, "tasks_dropped", dump->tasks_dropped);
	counts = cJSON_AddObjectToObject(partial, "reasons");
	for (unsigned i = 0; i < DUMP_REASON_COUNT; i++)
		if (dump->reasons[i])
			cJSON_AddNumberToObject(counts, reasons[i].name, dump->reasons[i]);
	for (unsigned i = 0; i < TASK_REASON_COUNT; i++)
		if (dump->task_reasons[i])
			cJSON_AddNumberToObject(counts, task_reasons[i].name,
						dump->task_reasons[i]);
	text = cJSON_Print(root);
	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	fprintf(out, "%s\n", text);
	return end_of(out);
}
