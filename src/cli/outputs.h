/* SPDX-License-Identifier: Apache-2.0 */
/* The files of -o: opened before the work starts, written at its end. */
#ifndef LS_OUTPUTS_H
#define LS_OUTPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/options.h"

struct report;

struct output_files {
	struct output_file {
		FILE *file;	/* NULL: written or never opened */
		bool created;	/* nothing was there before */
	} items[MAX_LIST];
};

/* -1 to go on, else the exit status; then nothing is left behind. */
int outputs_open(const struct options *options, struct output_files *files);

/* What the report says, in each format. EXIT_DONE or EXIT_FAILED. */
int outputs_write(const struct options *options, struct output_files *files,
		  const struct report *report);

/* Closes what was not written: new files go away, those that were there keep what they had. */
void outputs_drop(const struct options *options, struct output_files *files);

#endif
