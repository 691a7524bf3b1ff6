/* SPDX-License-Identifier: Apache-2.0 */
/* Options as data: one table per command gives parsing and help. */
#ifndef LS_OPTIONS_H
#define LS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit statuses, see PRODUCT.md "Exit status". */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_FOUND = 3,
	EXIT_TARGET = 4,
	EXIT_PRIVILEGES = 5,
	EXIT_SIGNAL = 130,
};

enum option_id {
	OPTION_NONE,
	OPTION_PID,
	OPTION_PORT,
	OPTION_DURATION,
	OPTION_RATE,
	OPTION_STALL,
	OPTION_SLOW_CALL,
	OPTION_OUTPUT,
	OPTION_FORMAT,
	OPTION_JSON,
	OPTION_FORCE,
	OPTION_FOLLOW,
	OPTION_ROUTE,
	OPTION_SORT,
	OPTION_APP_PATH,
	OPTION_LIBRARY_PATH,
	OPTION_FAIL_ON,
	OPTION_RING,
	OPTION_DROP,
	OPTION_QUIET,
	OPTION_VERBOSE,
	OPTION_HELP,
};

struct option_row {
	enum option_id id;
	char letter;		/* 0: none */
	const char *name;
	const char *argument;	/* NULL: takes none */
	const char *help;	/* NULL: not shown */
};

#define MAX_LIST 32

struct output {
	const char *path;	/* borrowed from argv */
	const struct exporter *exporter;
};

struct fail_on {
	int kind;	/* enum finding_kind */
	uint64_t ns;	/* longest occurrence from here on; 0: any */
};

struct options {
	pid_t pid;		/* 0: not given */
	unsigned port;		/* 0: not given */
	uint64_t duration_ns;	/* 0: until a signal */
	unsigned rate_hz;
	uint64_t stall_ns, slow_call_ns;
	struct output outputs[MAX_LIST];
	size_t output_count;
	const struct exporter *format;	/* to stdout */
	bool force, follow;
	const char *route, *sort;
	const char *app_paths[MAX_LIST + 1], *library_paths[MAX_LIST + 1];
	size_t app_path_count, library_path_count;
	struct fail_on fail_on[MAX_LIST];
	size_t fail_on_count;
	unsigned ring_bytes, drop_per_mille;
	char **command;		/* after "--", NULL: none */
};

struct command {
	const char *name, *arguments, *summary;
	const struct option_row *options;	/* ends with OPTION_NONE */
	int (*run)(const struct options *options);
	const char *more;	/* of its help, NULL: nothing */
};

extern const struct command commands[];
extern const size_t command_count;

/*
 * Parses argv[1..] of a command.  Returns -1 to go on, or the exit status
 * (usage was told on stderr, help was printed on stdout).
 */
int options_parse(const struct command *command, int argc, char **argv, struct options *options);

void command_help(const struct command *command);

#endif
