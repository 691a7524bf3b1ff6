/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands; each returns the exit status. */
#ifndef LS_CLI_ATTACH_H
#define LS_CLI_ATTACH_H

#include "cli/options.h"

int attach_run(const struct options *options);

/* The process that -p or --port names. -1 to go on, else the exit status. */
int choose_target(const struct options *options, pid_t *ret_pid);

#endif
