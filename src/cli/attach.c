// SPDX-License-Identifier: Apache-2.0
/* loopscope attach: observe, then report. */
#include "cli/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/follow.h"
#include "cli/observe.h"
#include "discover/process.h"
#include "export/exporter.h"

#define POLL_MS 100
#define SAMPLE_AFTER_NS NS_PER_MS /* younger steps are healthy ones: no stack is walked */

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
	(void)number;
	if (++signals > 1)
		_exit(EXIT_SIGNAL);
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* Opens all outputs before the work starts, so that none of it is lost. */
static int open_outputs(const struct options *options, FILE **files)
{
	for (size_t i = 0; i < options->output_count; i++) {
		const char *path = options->outputs[i].path;
		int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (options->force ? O_TRUNC : O_EXCL);
		int fd = open(path, flags, 0644);

		if (fd < 0 && errno == EEXIST) {
			log_error(0, "%s exists; --force replaces it", path);
			return EXIT_USAGE;
		}
		files[i] = fd < 0 ? NULL : fdopen(fd, "w");
		if (!files[i]) {
			log_error(0, "cannot write %s: %s", path, strerror(errno));
			if (fd >= 0)
				close(fd);
			return EXIT_USAGE;
		}
	}
	return -1;
}

/* What was created for an observation that never began is removed again. */
static void drop_outputs(const struct options *options, FILE **files)
{
	for (size_t i = 0; i < options->output_count; i++) {
		if (!files[i])
			continue;
		fclose(files[i]);
		if (!options->force)
			unlink(options->outputs[i].path);
	}
}

static int write_outputs(const struct options *options, FILE **files, const struct report *report)
{
	struct export_options wanted = { .route_glob = options->route, .sort = options->sort,
					 .all = true };
	int status = EXIT_DONE;

	for (size_t i = 0; i < options->output_count; i++) {
		int error = options->outputs[i].exporter->write(report, &wanted, files[i]);

		if (fclose(files[i]) && !error)
			error = -errno;
		files[i] = NULL;
		if (error) {
			log_error(0, "cannot write %s: %s", options->outputs[i].path,
				  strerror(-error));
			status = EXIT_FAILED;
		}
	}
	return status;
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

static int status_of(int error)
{
	switch (error) {
	case -EPERM:
	case -EOPNOTSUPP:
		return EXIT_PRIVILEGES;
	case -ESRCH:
	case -ENOEXEC:
	case -ENOENT:
		return EXIT_TARGET;
	case -EACCES:
		return EXIT_PRIVILEGES;
	default:
		return EXIT_FAILED;
	}
}

int choose_target(const struct options *options, pid_t *ret_pid)
{
	int error;

	if (!!options->pid + !!options->port + !!options->command != 1) {
		log_error(0, "name one target: -p PID, --port N%s",
			  options->command ? " or a command, not both" : " or -- COMMAND");
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

/* Starts a command that waits behind a pipe until the probes are there. */
static pid_t start_command(char **command, int *ret_gate)
{
	int gate[2];
	pid_t pid;

	if (pipe2(gate, O_CLOEXEC))
		return -1;
	pid = fork();
	if (pid == 0) {
		char byte;

		close(gate[1]);
		if (read(gate[0], &byte, 1) != 1)
			_exit(127);
		execvp(command[0], command);
		fprintf(stderr, "loopscope: cannot start %s: %s\n", command[0], strerror(errno));
		_exit(127);
	}
	close(gate[0]);
	*ret_gate = gate[1];
	return pid;
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

static int finish(struct observation *observation, const struct options *options, FILE **files)
{
	struct report report;
	int error = observation_report(observation, &report), status, printed;

	if (error) {
		log_error(error, "cannot make the report: %s", strerror(-error));
		return EXIT_FAILED;
	}
	status = write_outputs(options, files, &report);
	printed = options->follow ? EXIT_DONE : print_report(options, &report);
	if (status == EXIT_DONE)
		status = printed;
	if (status == EXIT_DONE && must_fail(options, &report))
		status = EXIT_FOUND;
	if (!observation_loops(observation)) {
		log_error(0, "no event loop was seen in the target or its children");
		status = EXIT_TARGET;
	}
	report_free(&report);
	return status;
}

static int observe(const struct options *options, pid_t pid, int gate, FILE **files)
{
	struct follow follow = { .json = !strcmp(options->format->name, "json") };
	struct observe_options wanted = {
		.attach = { .slow_call_ns = options->slow_call_ns,
			    .step_ns = options->slow_call_ns,
			    .sample_after_ns = SAMPLE_AFTER_NS,
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
	int status = EXIT_DONE, error;

	follow.stall_ns = options->stall_ns;
	error = observation_open(&wanted, &observation, message, sizeof(message));
	if (error) {
		log_error(error, "%s", message);
		return status_of(error);
	}
	error = observation_add(observation, pid, message, sizeof(message));
	if (gate >= 0)
		error = write(gate, "", 1) == 1 ? 0 : -errno;
	if (error && error != -EAGAIN) {
		log_error(error, "%s", message);
		status = error == -EOPNOTSUPP ? EXIT_TARGET : status_of(error);
	}
	if (status == EXIT_DONE) {
		observation_add_children(observation, pid);
		run(observation, options);
		status = finish(observation, options, files);
	}
	observation_free(observation);
	return status;
}

int attach_run(const struct options *options)
{
	FILE *files[MAX_LIST] = { NULL };
	int status, gate = -1;
	pid_t pid, child = 0;

	status = choose_target(options, &pid);
	if (status >= 0)
		return status;
	status = open_outputs(options, files);
	if (status < 0) {
		catch_signals();
		if (options->command)
			pid = child = start_command(options->command, &gate);
		status = pid > 0 ? observe(options, pid, gate, files) : EXIT_FAILED;
		if (gate >= 0)
			close(gate);
		if (child > 0) {
			kill(child, SIGTERM);
			waitpid(child, NULL, 0);
		}
	}
	drop_outputs(options, files);
	return status;
}
