/* SPDX-License-Identifier: Apache-2.0 */
/* The program of `attach -- COMMAND`. */
#ifndef LS_PROGRAM_H
#define LS_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

struct program {
	pid_t pid;	/* 0: none */
	const char *name;	/* borrowed from the command */
	int gate;	/* opened, lets it begin; -1: it has */
	int failure;	/* says why it did not begin; -1: closed */
};

/*
 * Forks a process that waits until program_begin().  It has the signal
 * dispositions, streams and directory of the caller.  0 or -errno.
 */
int program_start(char **command, struct program *program);

/* Lets it execute its command.  0, or -errno when that cannot be executed. */
int program_begin(struct program *program);

/*
 * Ends it, if it has not ended yet; nothing to do for none.  `told`: Ctrl-C has told it, too,
 * so it has some time to end by itself.
 */
void program_end(struct program *program, bool told);

#endif
