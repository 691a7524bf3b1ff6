// SPDX-License-Identifier: Apache-2.0
/* What is said of the tasks that were read: requests, who awaits whom, what is missing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "resolve/tasks_internal.h"

#define MAX_HOPS 64		/* from a task to the request it runs for */

/* ---- requests ------------------------------------------------------------------- */

static bool is_request(const struct request_record *request)
{
	return request->scope_type == SCOPE_HTTP || request->scope_type == SCOPE_WEBSOCKET;
}

/* Reads the request of a task that has a scope of its own, again while it has no route. */
static struct request_record *own_request(struct task_watch *watch, struct task_entry *entry,
					  bool changed)
{
	const struct code_role *role = task_role(watch, entry->root_code);

	if (!role || role->end != LS_END_SCOPE)
		return NULL;
	if (!entry->request) {
		entry->request = calloc(1, sizeof(*entry->request));
		if (!entry->request)
			return NULL;
		changed = true;
	} else {
		changed = entry->changed || entry->unsure ||
			  (changed && !entry->request->route && !entry->request->endpoint);
	}
	if (changed && entry->request_read != watch->sequence) {
		entry->unsure = !task_read_request(watch, entry->address, entry->request);
		entry->request_read = watch->sequence;
	}
	return is_request(entry->request) ? entry->request : NULL;
}

/* The innermost scope on the way to the root, as the probes look for it. */
static struct request_record *request_of(struct task_watch *watch, struct task_entry *entry)
{
	bool changed = false;

	for (int hop = 0; entry && hop < MAX_HOPS; hop++) {
		struct request_record *request;

		changed |= entry->changed;
		request = own_request(watch, entry, changed);
		if (request)
			return request;
		entry = entry->awaiter_count ? task_entry_find(watch, entry->awaiters[0]) : NULL;
	}
	return NULL;
}

static bool is_related(struct task_watch *watch, struct task_entry *entry)
{
	if (!entry->related_known) {
		entry->related_known = true;
		entry->related = request_of(watch, entry) != NULL;
	}
	return entry->related;
}

void task_relate(struct task_watch *watch)
{
	for (size_t i = 0; i < watch->entries.count; i++)
		is_related(watch, watch->entries.items[i]);
}

/* ---- the result ----------------------------------------------------------------- */

static void drop(struct task_watch *watch, const struct task_entry *entry)
{
	watch->snapshot.reasons[entry->reason]++;
	watch->snapshot.dropped++;
}

static int add_info(struct task_watch *watch, struct task_entry *entry)
{
	const struct event_loop *loop = task_loop(watch, entry->head.loop);
	const struct request_record *request = request_of(watch, entry);
	int error = vec_grow(&watch->infos, TASK_MAX_TASKS);

	if (error)
		return error;
	if (watch->requests_only && !request)	/* it came to its end meanwhile */
		return 0;
	entry->index = (uint32_t)watch->infos.count;
	watch->infos.items[watch->infos.count++] = (struct task_info){
		.task = entry->address,
		.serial = entry->serial,
		.loop = entry->head.loop,
		.loop_tid = loop ? loop->tid : 0,
		.state = entry->running ? TASK_RUNNING : TASK_PENDING,
		.name = entry->name,
		.frames = entry->frames,
		.frame_count = entry->frame_count,
		.end = entry->end,
		.end_object = entry->end_object,
		.end_type = entry->end_type,
		.awaited_by = entry->awaiters,
		.awaited_by_count = entry->awaiter_count,
		.request = request,
		.since_ns = entry->since_ns,
		.thread_call = entry->thread_call,
	};
	if (entry->end == TASK_END_CUT)
		watch->snapshot.reasons[TASK_REASON_DEEP]++;
	return 0;
}

static int gather_infos(struct task_watch *watch)
{
	int error = 0;

	watch->infos.count = 0;
	for (size_t i = 0; i < watch->entries.count; i++)
		watch->entries.items[i]->index = UINT32_MAX;
	for (size_t i = 0; i < watch->entries.count && !error; i++) {
		struct task_entry *entry = watch->entries.items[i];

		if (!task_is_open(watch, entry))
			continue;
		watch->snapshot.known++;
		if (watch->requests_only && !entry->related)
			continue;
		if (entry->bad || entry->fresh)
			drop(watch, entry);
		else
			error = add_info(watch, entry);
	}
	return error;
}

/* Who is awaited: the other way round. */
static int gather_children(struct task_watch *watch)
{
	size_t total = 0, count = watch->infos.count;
	void *items = watch->children;
	uint32_t *next;
	int error;

	for (size_t i = 0; i < count; i++) {
		struct task_info *info = &watch->infos.items[i];

		for (size_t k = 0; k < info->awaited_by_count; k++) {
			struct task_entry *of = task_entry_find(watch, info->awaited_by[k]);

			if (!of || of->index == UINT32_MAX)
				continue;
			watch->infos.items[of->index].child_count++;
			total++;
		}
	}
	error = vec_reserve(&items, &watch->children_capacity, total, sizeof(*watch->children),
			    (size_t)TASK_MAX_TASKS * TASK_MAX_AWAITERS);
	watch->children = items;
	if (error || !total)
		return error;
	next = watch->children;
	for (size_t i = 0; i < count; i++) {
		watch->infos.items[i].children = next;
		next += watch->infos.items[i].child_count;
		watch->infos.items[i].child_count = 0;
	}
	for (size_t i = 0; i < count; i++) {
		struct task_info *info = &watch->infos.items[i];

		for (size_t k = 0; k < info->awaited_by_count; k++) {
			struct task_entry *of = task_entry_find(watch, info->awaited_by[k]);
			struct task_info *parent;

			if (!of || of->index == UINT32_MAX)
				continue;
			parent = &watch->infos.items[of->index];
			watch->children[parent->children - watch->children +
					parent->child_count++] = (uint32_t)i;
		}
	}
	return 0;
}

int task_report(struct task_watch *watch)
{
	int error = gather_infos(watch);

	return error ? error : gather_children(watch);
}
