// SPDX-License-Identifier: Apache-2.0
#include "export/flame.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "detect/finding.h"
#include "export/clean.h"
#include "export/exporter.h"
#include "export/select.h"

#define NAME_BYTES 1024	/* of a frame; longer ones are cut */
#define FRAMES_MAX (FLAME_MAX_DEPTH - 8)	/* leaves room for root, route, native, leaf */

static const enum flame_class classes[] = {
	[FINDING_blocking_call] = FLAME_IO,
	[FINDING_cpu_stall] = FLAME_CPU,
	[FINDING_gc_pause] = FLAME_GC,
	[FINDING_gil_contention] = FLAME_LOCK,
	[FINDING_lock_wait] = FLAME_LOCK,
	[FINDING_log_backpressure] = FLAME_IO,
	[FINDING_page_fault] = FLAME_MACHINE,
	[FINDING_cpu_starvation] = FLAME_MACHINE,
	[FINDING_loop_saturated] = FLAME_CPU,
	[FINDING_slow_dependency] = FLAME_IO,
	[FINDING_slow_di_dependency] = FLAME_IO,
	[FINDING_n_plus_one] = FLAME_IO,
};

_Static_assert(sizeof(classes) / sizeof(classes[0]) == FINDING_KIND_COUNT,
	       "every kind has a class");

/* Walks down from the root and adds the time to every frame on the way. */
struct path {
	struct flame_node *at;
	uint64_t ns;
	enum flame_class class;
	int error;
};

static struct flame_node *child_of(struct flame_node *parent, const char *name)
{
	struct flame_node **link = &parent->child, *node;
	int order;

	for (; *link; link = &(*link)->next) {
		order = strcmp((*link)->name, name);
		if (!order)
			return *link;
		if (order > 0)
			break;
	}
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	node->name = strdup(name);
	if (!node->name) {
		free(node);
		return NULL;
	}
	node->next = *link;
	*link = node;
	return node;
}

__attribute__((format(printf, 2, 3)))
static void push(struct path *path, const char *format, ...)
{
	_cleanup_free_ char *clean = NULL;
	char name[NAME_BYTES];
	struct flame_node *child;
	va_list arguments;

	if (path->error)
		return;
	va_start(arguments, format);
	vsnprintf(name, sizeof(name), format, arguments);
	va_end(arguments);
	clean = clean_text(name, CLEAN_PRINT);
	child = clean ? child_of(path->at, clean) : NULL;
	if (!child) {
		path->error = -ENOMEM;
		return;
	}
	child->total_ns += path->ns;
	child->class_ns[path->class] += path->ns;
	path->at = child;
}

static void push_owner(struct path *path, const struct finding *finding)
{
	if (finding->route && finding->method)
		push(path, "%s %s", finding->method, finding->route);
	else if (finding->route)
		push(path, "%s", finding->route);
	else if (finding->owner_task)
		push(path, "[task %s]", finding->owner_task);
	else if (finding->owner_thread)
		push(path, "[thread %s]", finding->owner_thread);
	else
		push(path, "[no request]");
}

static void push_location(struct path *path, const struct place *location)
{
	const char *file = location->file ? location->file : "?";

	if (location->line)
		push(path, "%s (%s:%u)", location_name(location), file, location->line);
	else
		push(path, "%s (%s)", location_name(location), file);
}

static void push_leaf(struct path *path, const struct finding *finding)
{
	if (finding->native_frame)
		push(path, "%s", finding->native_frame);
	push(path, "[%s]",
	     finding->syscall ? finding->syscall : finding_kind_name(finding->kind));
	if (!path->error)
		path->at->self_ns += path->ns;
}

static struct path path_begin(struct flame_node *root, const struct finding *finding, uint64_t ns)
{
	struct path path = { .at = root, .ns = ns, .class = classes[finding->kind] };

	root->total_ns += ns;
	root->class_ns[path.class] += ns;
	push_owner(&path, finding);
	return path;
}

static int add_stack(struct flame_node *root, const struct finding *finding,
		     const struct stack_summary *stack, uint64_t ns)
{
	size_t count = stack->frame_count < FRAMES_MAX ? stack->frame_count : FRAMES_MAX;
	struct path path = path_begin(root, finding, ns);

	if (stack->truncated || count < stack->frame_count)
		push(&path, "[truncated]");
	while (count--)
		push_location(&path, &stack->frames[count]);
	push_leaf(&path, finding);
	return path.error;
}

/* Time without a stack goes to the culprit, so that the sum is what was blocked. */
static int add_rest(struct flame_node *root, const struct finding *finding, uint64_t ns)
{
	struct path path = path_begin(root, finding, ns);

	if (finding->stack_count)
		push(&path, finding->evidence == EVIDENCE_SAMPLED ? "[between samples]" :
								    "[stack not kept]");
	if (finding->culprit.file)
		push_location(&path, &finding->culprit);
	push_leaf(&path, finding);
	return path.error;
}

/* Stacks carry their time or, where they were only counted, a share of the finding's. */
static int add_finding(struct flame_node *root, const struct finding *finding)
{
	uint64_t sum = 0, count = 0, used = 0, total = finding->duration.total;
	int err;

	for (size_t i = 0; i < finding->stack_count; i++) {
		sum += finding->stacks[i].total_ns;
		count += finding->stacks[i].count;
	}
	for (size_t i = 0; i < finding->stack_count; i++) {
		const struct stack_summary *stack = &finding->stacks[i];
		uint64_t ns = stack->total_ns;

		if (!sum && count)
			ns = (uint64_t)((double)total * (double)stack->count / (double)count);
		if (!ns)
			continue;
		err = add_stack(root, finding, stack, ns);
		if (err)
			return err;
		used += ns;
	}
	/* Less than a microsecond is rounding. */
	if (used + 1000 > total)
		return 0;
	return add_rest(root, finding, total - used);
}

int flame_build(const struct report *report, const struct export_options *options,
		struct flame_node **ret_root)
{
	struct selection selection;
	struct flame_node *root;
	int err;

	err = selection_make(report, options, &selection);
	if (err)
		return err;
	root = calloc(1, sizeof(*root));
	if (root)
		root->name = strdup("all");
	if (!root || !root->name)
		err = -ENOMEM;
	for (size_t i = 0; i < selection.finding_count && !err; i++)
		if (selection.findings[i]->blocks_loop)
			err = add_finding(root, selection.findings[i]);
	selection_free(&selection);
	if (err)
		flame_free(root);
	else
		*ret_root = root;
	return err;
}

/* Recursion is as deep as the tree: FLAME_MAX_DEPTH. */
void flame_free(struct flame_node *root)
{
	struct flame_node *next;

	for (; root; root = next) {
		next = root->next;
		flame_free(root->child);
		free(root->name);
		free(root);
	}
}
