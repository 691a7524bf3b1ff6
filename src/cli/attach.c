// SPDX-License-Identifier: Apache-2.0
/* loopscope attach: observe, then report. */
#include "cli/attach.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "cli/follow.h"
#include "cli/observe.h"
#include "cli/outputs.h"
#include "cli/program.h"
#include "cli/ready.h"
#include "discover/process.h"
#include "export/exporter.h"

#define POLL_MS 100
#define SAMPLE_AFTER_NS NS_PER_MS /* younger steps are healthy ones: no stack is walked */

static volatile sig_atomic_t signals, first_signal;

static void on_signal(int number)
{
	if (!signals)
		first_signal = number;
	if (++signals > 1)
		_exit(EXIT_SIGNAL);
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int print_report(const struct options *options, const struct report *report)
{
	struct export_options wanted = { .route_glob = options->route, .sort = options->sort,
					 .all = log_level >= LOG_INFO };
	struct winsize size;
	bool terminal = isatty(STDOUT_FILENO);
	int error;

	wanted.color = terminal && !getenv("NO_COLOR");
	if (terminal && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		wanted.width = size.ws_col;
	error = options->format->write(report, &wanted, stdout);
	if (!error && fflush(stdout))
		error = -errno;
	if (error)
		return log_error(0, "cannot write the report: %s", strerror(-error)),
		       EXIT_FAILED;
	return EXIT_DONE;
}

static bool must_fail(const struct options *options, const struct report *report)
{
	for (size_t i = 0; i < options->fail_on_count; i++)
		for (size_t k = 0; k < report->finding_count; k++)
			if ((int)report->findings[k].kind == options->fail_on[i].kind &&
			    report->findings[k].duration.max >= options->fail_on[i].ns)
				return true;
	return false;
}

static int status_of_probes(int error)
{
	return error == -EPERM || error == -EOPNOTSUPP ? EXIT_PRIVILEGES : EXIT_FAILED;
}

int status_of_target(int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		return EXIT_PRIVILEGES;
	case -ENOMEM:
		return EXIT_FAILED;
	default:
		return EXIT_TARGET;
	}
}

int choose_target(const struct options *options, bool may_start, pid_t *ret_pid)
{
	bool command = options->command != NULL;
	int error;

	if (command && !may_start) {
		log_error(0, "%s: only attach starts a command", options->command[0]);
		return EXIT_USAGE;
	}
	if (!!options->pid + !!options->port + command != 1) {
		log_error(0, "name one target: -p PID%s",
			  may_start ? ", --port N or -- COMMAND" : " or --port N");
		return EXIT_USAGE;
	}
	*ret_pid = options->pid;
	if (!options->port)
		return -1;
	error = process_of_port(options->port, ret_pid);
	if (!error)
		return -1;
	log_error(0, "nobody listens on port %u%s", options->port,
		  error == -EACCES ? ", or it cannot be seen without root" : "");
	return error == -EACCES ? EXIT_PRIVILEGES : EXIT_TARGET;
}

/* Until the time is over, a signal came, or all targets ended. */
static void run(struct observation *observation, const struct options *options)
{
	uint64_t end = options->duration_ns ? monotonic_ns() + options->duration_ns : UINT64_MAX;

	while (!signals && !observation_over(observation)) {
		uint64_t now = monotonic_ns();
		uint64_t left = now < end ? (end - now) / NS_PER_MS : 0;

		if (now >= end)
			break;
		observation_run(observation, left < POLL_MS ? (int)left + 1 : POLL_MS);
	}
}

/* The report is of the time before the command was told to end, and comes after its last words. */
static int finish(struct observation *observation, const struct options *options,
		  struct program *program, struct output_files *files)
{
	struct report report;
	int error, status, printed;

	if (!observation_loops(observation)) {
		log_error(0, "no event loop was seen in the target or its children");
		return EXIT_TARGET;
	}
	error = observation_report(observation, &report);
	if (error) {
		log_error(error, "cannot make the report: %s", strerror(-error));
		return EXIT_FAILED;
	}
	status = outputs_write(options, files, &report);
	program_end(program, first_signal == SIGINT);
	printed = options->follow ? EXIT_DONE : print_report(options, &report);
	if (status == EXIT_DONE)
		status = printed;
	if (status == EXIT_DONE && must_fail(options, &report))
		status = EXIT_FOUND;
	report_free(&report);
	return status;
}

/* Begins with the target that is there, or with the program that is waiting. */
static int begin(struct observation *observation, pid_t pid, struct program *program)
{
	char message[256] = "";
	int error = observation_add(observation, pid, message, sizeof(message));

	if (program->pid) {
		/* so far it is a copy of this process */
		error = program_begin(program);
		if (!error)
			return EXIT_DONE;
		log_error(error, "%s cannot be started: %s", program->name, strerror(-error));
		return EXIT_TARGET;
	}
	if (error && error != -EAGAIN) {
		log_error(error, "%s", message);
		return status_of_target(error);
	}
	observation_add_children(observation, pid);
	return EXIT_DONE;
}

static int observe(const struct options *options, pid_t pid, struct program *program,
		   struct output_files *files)
{
	struct follow follow = { .json = !strcmp(options->format->name, "json"),
				 .stall_ns = options->stall_ns };
	struct observe_options wanted = {
		.attach = { .slow_call_ns = options->slow_call_ns,
			    .step_ns = options->slow_call_ns,
			    .sample_after_ns = SAMPLE_AFTER_NS,
			    .urgent_ns = options->stall_ns,
			    .rate_hz = options->rate_hz,
			    .ring_bytes = options->ring_bytes,
			    .drop_per_mille = options->drop_per_mille },
		.code = { .app_paths = options->app_paths,
			  .library_paths = options->library_paths },
		.stall_ns = options->stall_ns,
		.on_activity = options->follow ? follow_activity : NULL,
		.on_stall = follow_stall,
		.context = &follow,
	};
	struct observation *observation;
	char message[256] = "";
	int status, error;

	error = observation_open(&wanted, &observation, message, sizeof(message));
	if (error) {
		log_error(error, "%s", message);
		return status_of_probes(error);
	}
	status = begin(observation, pid, program);
	if (status == EXIT_DONE) {
		ready_tell();
		run(observation, options);
		status = finish(observation, options, program, files);
	}
	observation_free(observation);
	return status;
}

/* The program is started first: it has the signals as they were. */
static int start_and_observe(const struct options *options, pid_t pid, struct output_files *files)
{
	struct program program = { .gate = -1, .failure = -1 };
	int error = options->command ? program_start(options->command, &program) : 0;
	int status = EXIT_FAILED;

	catch_signals();
	if (error)
		log_error(error, "%s cannot be started: %s", options->command[0],
			  strerror(-error));
	else
		status = observe(options, program.pid ? program.pid : pid, &program, files);
	program_end(&program, first_signal == SIGINT);
	return status;
}

int attach_run(const struct options *options)
{
	struct output_files files;
	int status;
	pid_t pid;

	status = choose_target(options, true, &pid);
	if (status >= 0)
		return status;
	if (options->follow && strcmp(options->format->name, "text") &&
	    strcmp(options->format->name, "json")) {
		log_error(0, "--format %s: --follow prints text or json", options->format->name);
		return EXIT_USAGE;
	}
	status = outputs_open(options, &files);
	if (status >= 0)
		return status;
	status = start_and_observe(options, pid, &files);
	outputs_drop(options, &files);
	return status;
}
