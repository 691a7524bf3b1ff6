// SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"

#define END_NS (10 * NS_PER_S)	/* from SIGTERM to SIGKILL */
#define TOLD_NS (2 * NS_PER_S)	/* from Ctrl-C to SIGTERM: somebody may have told us alone */
#define END_POLL_NS (20 * NS_PER_MS)

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* In the child: both pipes close when the command begins. */
static void wait_and_execute(char **command, int gate, int failure)
{
	char byte;
	int error;

	if (read(gate, &byte, 1) != 1)
		_exit(127);
	execvp(command[0], command);
	error = errno;
	_exit(write(failure, &error, sizeof(error)) == sizeof(error) ? 127 : 126);
}

int program_start(char **command, struct program *program)
{
	int gate[2], failure[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate))
		return -errno;
	if (pipe2(failure, O_CLOEXEC)) {
		int error = -errno;

		close(gate[0]);
		close(gate[1]);
		return error;
	}
	pid = fork();
	if (!pid) {
		close(gate[1]);
		wait_and_execute(command, gate[0], failure[1]);
	}
	close(gate[0]);
	close(failure[1]);
	*program = (struct program){ .pid = pid, .name = command[0], .gate = gate[1],
				     .failure = failure[0] };
	if (pid < 0) {
		int error = -errno;

		close_fd(&program->gate);
		close_fd(&program->failure);
		program->pid = 0;
		return error;
	}
	return 0;
}

int program_begin(struct program *program)
{
	ssize_t length;
	int error = 0;

	/* A child that a signal has ended meanwhile is noticed by its end, as any other. */
	send(program->gate, "", 1, MSG_NOSIGNAL);
	close_fd(&program->gate);
	do
		length = read(program->failure, &error, sizeof(error));
	while (length < 0 && errno == EINTR);
	close_fd(&program->failure);
	return -error;
}

static bool ended(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) != 0;
}

static bool ends_within(pid_t pid, uint64_t ns)
{
	struct timespec pause = { .tv_nsec = END_POLL_NS };
	uint64_t deadline = monotonic_ns() + ns;

	while (!ended(pid)) {
		if (monotonic_ns() > deadline)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

void program_end(struct program *program, bool told)
{
	pid_t pid = program->pid;

	close_fd(&program->gate);
	close_fd(&program->failure);
	program->pid = 0;
	if (!pid || ends_within(pid, told ? TOLD_NS : 0))
		return;
	kill(pid, SIGTERM);
	if (ends_within(pid, END_NS))
		return;
	log_warn("the command does not end by SIGTERM: it is killed");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
