// SPDX-License-Identifier: Apache-2.0
/* "root;...;leaf N" per line: the input of flamegraph.pl, speedscope and others; N in us. */
#include <errno.h>
#include <inttypes.h>

#include "export/exporter.h"
#include "export/flame.h"
#include "export/formats.h"

/* A semicolon separates frames; there is no way to write one that is part of a name. */
static void write_name(FILE *out, const char *name)
{
	for (; *name; name++)
		putc(*name == ';' ? ',' : *name, out);
}

static void write_node(FILE *out, const struct flame_node **path, size_t depth)
{
	const struct flame_node *node = path[depth];
	uint64_t us = (node->self_ns + 500) / 1000;

	if (us) {
		for (size_t i = 1; i <= depth; i++) {
			if (i > 1)
				putc(';', out);
			write_name(out, path[i]->name);
		}
		fprintf(out, " %" PRIu64 "\n", us);
	}
	if (depth + 1 >= FLAME_MAX_DEPTH)
		return;
	for (const struct flame_node *child = node->child; child; child = child->next) {
		path[depth + 1] = child;
		write_node(out, path, depth + 1);
	}
}

int folded_write(const struct report *report, const struct export_options *options, FILE *out)
{
	const struct flame_node *path[FLAME_MAX_DEPTH];
	struct flame_node *root;
	int err;

	err = flame_build(report, options, &root);
	if (err)
		return err;
	path[0] = root;
	write_node(out, path, 0);
	flame_free(root);
	return ferror(out) ? -EIO : 0;
}
