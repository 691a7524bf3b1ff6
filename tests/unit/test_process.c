// SPDX-License-Identifier: Apache-2.0
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/units.h"
#include "discover/process.h"

#define NO_PROCESS 0x3fffffff	/* above any pid_max */

static void test_mappings(void **state)
{
	char name[] = "/tmp/loopscope odd\nname XXXXXX";
	struct mappings mappings = { 0 };
	const struct mapping *mapping;
	int fd = mkstemp(name);
	char *page;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4096);
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(process_mappings(getpid(), &mappings), 0);
	mapping = mappings_find(&mappings, (uintptr_t)page + 4095);
	assert_non_null(mapping);
	assert_string_equal(mapping->path, name);
	assert_int_equal(mapping->offset, 4096);
	assert_false(mapping->deleted || mapping->writable || mapping->executable);
	mapping = mappings_find(&mappings, (uintptr_t)&test_mappings);
	assert_true(mapping && mapping->executable);
	assert_null(mappings_find(&mappings, 16));
	assert_null(mappings_find(&mappings, UINT64_MAX));
	mappings_free(&mappings);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(process_mappings(getpid(), &mappings), 0);
	mapping = mappings_find(&mappings, (uintptr_t)page);
	assert_true(mapping && mapping->deleted);
	assert_string_equal(mapping->path, name);
	mappings_free(&mappings);
	munmap(page, 4096);
	close(fd);
	assert_int_equal(process_mappings(NO_PROCESS, &mappings), -ESRCH);
}

static void *wait_in_pause(void *ready)
{
	*(volatile pid_t *)ready = syscall(SYS_gettid);
	for (;;)
		pause();
	return NULL;
}

/* A child with a second thread, a hard name, and arguments of a known call. */
static pid_t start_child(void)
{
	pid_t child = fork();

	if (!child) {
		volatile pid_t ready = 0;
		pthread_t thread;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "a) R 1 (b");
		if (pthread_create(&thread, NULL, wait_in_pause, (void *)&ready))
			_exit(1);
		for (;;)
			pause();
	}
	return child;
}

static void stop_child(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static bool has(const struct process_ids *ids, pid_t id)
{
	for (size_t i = 0; i < ids->count; i++)
		if (ids->items[i] == id)
			return true;
	return false;
}

static void test_threads_and_children(void **state)
{
	struct process_ids ids = { 0 };
	struct thread_state thread;
	uint64_t own, start;
	pid_t child = start_child();

	(void)state;
	assert_true(child > 0);
	for (int i = 0; i < 500 && ids.count < 2; i++) {
		process_ids_free(&ids);
		usleep(10000);
		assert_int_equal(process_threads(child, &ids), 0);
	}
	assert_int_equal(ids.count, 2);
	assert_true(has(&ids, child));
	usleep(50000);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(process_thread_state(child, ids.items[i], &thread), 0);
		assert_int_equal(thread.state, 'S');
		assert_int_equal(thread.number, SYS_pause);
		assert_string_equal(thread.comm, "a) R 1 (b");
	}
	process_ids_free(&ids);
	assert_int_equal(process_children(getpid(), &ids), 0);
	assert_true(has(&ids, child));
	process_ids_free(&ids);
	assert_int_equal(process_start_time(getpid(), &own), 0);
	assert_int_equal(process_start_time(child, &start), 0);
	assert_true(start >= own && own);
	stop_child(child);
	assert_int_equal(process_threads(child, &ids), -ESRCH);
	assert_int_equal(process_children(child, &ids), -ESRCH);
	assert_int_equal(process_start_time(child, &start), -ESRCH);
	assert_int_equal(process_thread_state(child, child, &thread), -ESRCH);
	assert_null(process_cmdline(child));
}

static void test_cmdline_and_fd(void **state)
{
	char buffer[64];
	int ends[2];

	(void)state;
	assert_non_null(strstr(process_cmdline(getpid()), "test_process"));
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(process_fd_name(getpid(), ends[0], buffer, sizeof(buffer)), 0);
	assert_int_equal(strncmp(buffer, "pipe:[", 6), 0);
	assert_int_equal(process_fd_name(getpid(), ends[0], buffer, 5), 0);
	assert_string_equal(buffer, "pipe");
	assert_int_equal(process_fd_name(getpid(), 99999, buffer, sizeof(buffer)), -ENOENT);
	close(ends[0]);
	close(ends[1]);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void assert_opens(pid_t pid, const char *path, const char *text)
{
	char buffer[64] = "";
	int fd = process_open_file(pid, path, NULL);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, buffer, sizeof(buffer) - 1), strlen(text));
	assert_string_equal(buffer, text);
	close(fd);
}

/* A child below a root of its own that tries to lead us out of it. */
static void test_open_in_root(void **state)
{
	char root[] = "/tmp/loopscope-rootXXXXXX", command[128];
	int ready[2];
	char byte;
	pid_t child;

	(void)state;
	if (geteuid())
		skip();
	assert_non_null(mkdtemp(root));
	assert_int_equal(chdir(root), 0);
	write_file("plain", "inside");
	assert_int_equal(mkdir("etc", 0700), 0);
	write_file("etc/passwd", "theirs");
	assert_int_equal(symlink("/etc/passwd", "absolute"), 0);
	assert_int_equal(symlink("../../../../etc/passwd", "relative"), 0);
	assert_int_equal(symlink("loop", "loop"), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(mknod("null", S_IFCHR | 0600, 0x103), 0);
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chroot(".") || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_opens(child, "/plain", "inside");
	assert_opens(child, "/absolute", "theirs");
	assert_opens(child, "/relative", "theirs");
	assert_opens(child, "/../../etc/passwd", "theirs");
	assert_int_equal(process_open_file(child, "/loop", NULL), -ELOOP);
	assert_int_equal(process_open_file(child, "/fifo", NULL), -EINVAL);
	assert_int_equal(process_open_file(child, "/null", NULL), -EINVAL);
	assert_int_equal(process_open_file(child, "/etc", NULL), -EINVAL);
	assert_int_equal(process_open_file(child, "/missing", NULL), -ENOENT);
	stop_child(child);
	assert_int_equal(process_open_file(child, "/plain", NULL), -ESRCH);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -r %s", root);
	assert_int_equal(system(command), 0);
}

/* The mapped file is found when its name is gone, and never a new one of that name. */
static void test_open_mapped(void **state)
{
	char name[] = "/tmp/loopscope-mapXXXXXX", buffer[16] = "";
	struct mappings mappings;
	const struct mapping *mapping;
	struct mapping stale;
	int fd = mkstemp(name);
	char *page;

	(void)state;
	if (geteuid())
		skip();
	write_file(name, "mapped");
	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(unlink(name), 0);
	write_file(name, "other");
	assert_int_equal(process_mappings(getpid(), &mappings), 0);
	mapping = mappings_find(&mappings, (uintptr_t)page);
	assert_non_null(mapping);
	fd = process_open_file(getpid(), mapping->path, mapping);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, buffer, sizeof(buffer)), 6);
	assert_string_equal(buffer, "mapped");
	close(fd);
	stale = *mapping;
	stale.start += 1;
	assert_int_equal(process_open_file(getpid(), name, &stale), -ENOENT);
	mappings_free(&mappings);
	munmap(page, 4096);
	unlink(name);
}

static int listen_on(int family, unsigned *ret_port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct sockaddr *address = family == AF_INET ? (void *)&four : (void *)&six;
	socklen_t length = family == AF_INET ? sizeof(four) : sizeof(six);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, address, length) || listen(fd, 1) ||
	    getsockname(fd, address, &length)) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*ret_port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
	return fd;
}

static void test_port(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };
	pid_t holder = 0;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		unsigned port = 0;
		int fd = listen_on(families[i], &port);
		pid_t worker;

		if (fd < 0 && families[i] == AF_INET6)
			continue;	/* a machine without IPv6 */
		assert_true(fd >= 0);
		worker = start_child();
		assert_int_equal(process_of_port(port, &holder), 0);
		assert_int_equal(holder, getpid());
		stop_child(worker);
		close(fd);
		holder = 0;
		assert_int_equal(process_of_port(port, &holder), -ENOENT);
		assert_int_equal(holder, 0);
	}
}

/* A listener that only another network namespace knows. */
static void test_port_elsewhere(void **state)
{
	int ends[2];
	unsigned port = 0;
	pid_t child, holder = 0;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!unshare(CLONE_NEWNET))
			listen_on(AF_INET, &port);
		if (write(ends[1], &port, sizeof(port)) != sizeof(port))
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ends[0], &port, sizeof(port)), sizeof(port));
	if (port) {
		assert_int_equal(process_of_port(port, &holder), 0);
		assert_int_equal(holder, child);
	}
	stop_child(child);
	close(ends[0]);
	close(ends[1]);
	if (!port)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mappings),
		cmocka_unit_test(test_threads_and_children),
		cmocka_unit_test(test_cmdline_and_fd),
		cmocka_unit_test(test_open_in_root),
		cmocka_unit_test(test_open_mapped),
		cmocka_unit_test(test_port),
		cmocka_unit_test(test_port_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
