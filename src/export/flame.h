/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking time of a report as a tree of frames, for folded stacks and flamegraphs. */
#ifndef LS_FLAME_H
#define LS_FLAME_H

#include <stddef.h>
#include <stdint.h>

#define FLAME_MAX_DEPTH 256	/* of the tree; the frames nearest the leaf are kept */

struct export_options;
struct report;

/* What kind of time a frame holds. */
enum flame_class {
	FLAME_IO,
	FLAME_CPU,
	FLAME_GC,
	FLAME_LOCK,
	FLAME_MACHINE,
	FLAME_CLASS_COUNT
};

struct flame_node {
	char *name;		/* owned, clean for print */
	uint64_t total_ns;	/* with everything below it */
	uint64_t self_ns;
	uint64_t class_ns[FLAME_CLASS_COUNT];	/* total_ns by class */
	struct flame_node *child, *next;	/* owned; children sorted by name */
};

/*
 * Every finding that held the loop: route, frames from the root to the leaf,
 * then "[system call]" or "[kind]".  0, -ENOMEM, or -EINVAL for bad options.
 */
int flame_build(const struct report *report, const struct export_options *options,
		struct flame_node **ret_root);
void flame_free(struct flame_node *root);

#endif
