/* SPDX-License-Identifier: Apache-2.0 */
/* Output formats: report in, bytes out.  The table is in exporters.c. */
#ifndef LS_EXPORTER_H
#define LS_EXPORTER_H

#include <stdbool.h>
#include <stdio.h>

struct report;

struct export_options {
	bool color;		/* ANSI colours (text) */
	bool all;		/* every finding and row, not a screenful (text) */
	unsigned width;		/* columns, 0: 100 (text) */
	const char *route_glob;	/* only these routes; NULL: all */
	const char *sort;	/* column of the routes; NULL: most time first */
};

struct exporter {
	const char *name;	/* "text", "json", "folded", "svg" */
	const char *suffix;	/* ".json" */
	const char *summary;	/* for the help */
	/* 0 or -errno (-EIO when the stream failed). */
	int (*write)(const struct report *report, const struct export_options *options,
		     FILE *out);
};

extern const struct exporter exporters[];
extern const unsigned exporter_count;

/* By name, or by the suffix of a path; NULL when there is none. */
const struct exporter *exporter_by_name(const char *name);
const struct exporter *exporter_for_path(const char *path);

/* The JSON Schema of "json", a static string. */
extern const char report_schema[];

#endif
