// SPDX-License-Identifier: Apache-2.0
/* The table of commands and their options. */
#include "cli/attach.h"

#define TARGET_OPTIONS \
	{ OPTION_PID, 'p', "pid", "PID", "this process and its workers" }, \
	{ OPTION_PORT, 0, "port", "N", "whoever listens on TCP port N, and its workers" }
#define COMMON_OPTIONS \
	{ OPTION_QUIET, 'q', "quiet", NULL, "nothing but errors on stderr" }, \
	{ OPTION_VERBOSE, 'v', "verbose", NULL, "what is being done and why; all findings" }, \
	{ OPTION_HELP, 'h', "help", NULL, "this text" }, \
	{ OPTION_NONE, 0, NULL, NULL, NULL }

static const struct option_row attach_options[] = {
	TARGET_OPTIONS,
	{ OPTION_DURATION, 'd', "duration", "SECONDS",
	  "stop by itself (500ms, 30s, 5m; default: Ctrl-C)" },
	{ OPTION_RATE, 'r', "rate", "HZ", "clock samples per second (default 99)" },
	{ OPTION_STALL, 0, "stall", "MS", "from here on a finding (default 20)" },
	{ OPTION_SLOW_CALL, 0, "slow-call", "MS", "from here on a call is recorded (default 1)" },
	{ OPTION_OUTPUT, 'o', "output", "PATH[:FORMAT]",
	  "write a file: text, json, folded or svg; repeatable" },
	{ OPTION_FORMAT, 'f', "format", "FORMAT", "what goes to stdout (default text)" },
	{ OPTION_JSON, 0, "json", NULL, "short for -f json" },
	{ OPTION_FORCE, 0, "force", NULL, "replace outputs that exist" },
	{ OPTION_FOLLOW, 0, "follow", NULL, "print each occurrence at once instead of a report" },
	{ OPTION_ROUTE, 0, "route", "GLOB", "only these routes" },
	{ OPTION_SORT, 0, "sort", "COLUMN", "order of the findings" },
	{ OPTION_APP_PATH, 0, "app-path", "PATH", "counts as application; repeatable" },
	{ OPTION_LIBRARY_PATH, 0, "library-path", "PATH", "counts as library; repeatable" },
	{ OPTION_FAIL_ON, 0, "fail-on", "KIND[:MS]", "exit 3 on such a finding; repeatable" },
	{ OPTION_RING, 0, "ring", "KIB", "size of the event buffer (default 512)" },
	{ OPTION_DROP, 0, "drop-events", "PER_MILLE", NULL },
	COMMON_OPTIONS,
};

const struct command commands[] = {
	{ "attach", "[OPTIONS] (-p PID | --port N | -- COMMAND [ARGUMENTS])",
	  "Observes a running Python ASGI service and reports what blocks its event loop.",
	  attach_options, attach_run },
};

const size_t command_count = sizeof(commands) / sizeof(commands[0]);
