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
	{ OPTION_ROUTE, 0, "route", "GLOB", "only these: \"/items/*\", \"POST *\"" },
	{ OPTION_SORT, 0, "sort", "COLUMN", "order of the routes (default total: time in all)" },
	{ OPTION_APP_PATH, 0, "app-path", "PATH", "counts as application; repeatable" },
	{ OPTION_LIBRARY_PATH, 0, "library-path", "PATH", "counts as library; repeatable" },
	{ OPTION_FAIL_ON, 0, "fail-on", "KIND[:MS]", "exit 3 on such a finding; repeatable" },
	{ OPTION_RING, 0, "ring", "KIB", "size of the event buffer (default 4096)" },
	{ OPTION_DROP, 0, "drop-events", "PER_MILLE", NULL },
	COMMON_OPTIONS,
};

static const struct option_row dump_options[] = {
	TARGET_OPTIONS,
	{ OPTION_FORMAT, 'f', "format", "FORMAT", "text or json (default text)" },
	{ OPTION_JSON, 0, "json", NULL, "short for -f json" },
	COMMON_OPTIONS,
};

static const struct option_row doctor_options[] = {
	{ OPTION_PID, 'p', "pid", "PID", "say what can be known of this process, too" },
	{ OPTION_PORT, 0, "port", "N", "the same for whoever listens on TCP port N" },
	{ OPTION_FORMAT, 'f', "format", "FORMAT", "text or json (default text)" },
	{ OPTION_JSON, 0, "json", NULL, "short for -f json" },
	COMMON_OPTIONS,
};

static const char attach_more[] =
	"With -- COMMAND the program is started here and observed from its first step.  Its\n"
	"input and output are its own, Ctrl-C reaches it as well.  When the observation ends\n"
	"before it does (-d, a signal) it is ended with SIGTERM, after 10 s with SIGKILL; when\n"
	"it ends first, the report is made.\n"
	"\n"
	"--route takes a pattern of a template or of method and template (websockets have the\n"
	"method WS); * matches a / as well.  It shows these routes, what they waited for and the\n"
	"findings about them, with everybody whom those held up.  --sort takes total, requests,\n"
	"errors, p50, p90, p99, max or loop (share of the loop's busy time), largest first.\n"
	"\n"
	"Exit status: 0 done; 1 failed while running; 2 usage, or an output that exists or\n"
	"cannot be written; 3 a finding matched --fail-on; 4 no such target, a target that is not\n"
	"supported, a command that cannot be started; 5 the kernel or the privileges do not\n"
	"suffice (`loopscope doctor` says what is missing); 130 a second Ctrl-C.\n"
	"\n"
	"Coming from py-spy:\n"
	"  --native       the C function that holds the CPU is named by itself\n"
	"  --gil          waits for the GIL are findings (gil_contention), which name who\n"
	"                 held it; `loopscope dump` says which threads wait for it\n"
	"  --idle         waiting is what is looked for: all that blocks the loop is there,\n"
	"                 its own wait for events is not; `loopscope dump` shows idle threads\n"
	"  --subprocesses workers are always observed, those that come later as well\n"
	"  --locals       there is none: local variables hold passwords, tokens and\n"
	"                 personal data\n"
	"  --nonblocking  always: the target is never stopped\n"
	"  dump, record   `loopscope dump`; `attach -o stalls.svg` for a flamegraph\n";

static const char dump_more[] =
	"Needs no eBPF, only to be allowed to read the process: its owner's or root's\n"
	"privileges (CAP_SYS_PTRACE).  Nothing is stopped, so the stack of a thread that runs\n"
	"may be torn: it is read until it was the same twice, three times at most; one that\n"
	"still changed is said to be (\"partial\").\n"
	"\n"
	"States: running; runnable (waits for a CPU); blocked (in a system call, or stopped);\n"
	"gil_wait; idle (a loop that waits for events, a worker thread that waits for work).\n";

static const char doctor_more[] =
	"Exit status: 0 attaching works here; 4 it does, but not to this target; 5 the kernel or\n"
	"the privileges do not suffice.\n";

const struct command commands[] = {
	{ "attach", "[OPTIONS] (-p PID | --port N | -- COMMAND [ARGUMENTS])",
	  "Observes a running Python ASGI service and reports what blocks its event loop.",
	  attach_options, attach_run, attach_more },
	{ "dump", "[OPTIONS] (-p PID | --port N)",
	  "Prints the stack of every Python thread now, with its state, task and route.",
	  dump_options, dump_run, dump_more },
	{ "doctor", "[OPTIONS] [-p PID | --port N]",
	  "Says what works on this machine, what does not, and the way out.",
	  doctor_options, doctor_run, doctor_more },
};

const size_t command_count = sizeof(commands) / sizeof(commands[0]);
