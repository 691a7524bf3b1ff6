/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands; each returns the exit status. */
#ifndef LS_CLI_ATTACH_H
#define LS_CLI_ATTACH_H

#include "cli/options.h"

int attach_run(const struct options *options);
int dump_run(const struct options *options);
int doctor_run(const struct options *options);

/*
 * The process that -p or --port names; 0 for a command that is still to be started.
 * -1 to go on, else the exit status.
 */
int choose_target(const struct options *options, bool may_start, pid_t *ret_pid);

/* The exit status that says what an error of target_open() means. */
int status_of_target(int error);

#endif
