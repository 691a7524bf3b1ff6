/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers shared by the files that read /proc. */
#ifndef LS_PROCESS_PROC_H
#define LS_PROCESS_PROC_H

#include "discover/process.h"

#define PROC_PATH_MAX 128	/* of a path below /proc that we build ourselves */

/* errno of a failed access below /proc/PID as process.h names it. */
int proc_error(int error);

/*
 * Reads at most size - 1 bytes and terminates them.  Returns their number or
 * -errno; what is longer is cut.
 */
ssize_t proc_read(const char *path, char *buffer, size_t size);

/* The names of a directory that are numbers: "/proc", "/proc/PID/task", ".../fd". */
int proc_numbers(const char *path, struct process_ids *ids);

#endif
