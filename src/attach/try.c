// SPDX-License-Identifier: Apache-2.0
#include "attach/try.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target_config.h"
#include "loopscope.skel.h"

#define LOG_BYTES (1u << 20)

static int no_print(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

/* The last line that says something: the verifier ends with its statistics. */
static void last_line(char *log, char *message, size_t size)
{
	char *rest = NULL;

	for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (strncmp(line, "processed ", 10) && strncmp(line, "verification time", 17) &&
		    strncmp(line, "stack depth", 11))
			snprintf(message, size, "%s", line);
}

static struct bpf_link *attach(struct bpf_program *program, enum probe_kind kind)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_freq = 1,
		.freq = 1,
	};
	struct bpf_link *link;
	int fd;

	if (kind != PROBE_CLOCK)
		return bpf_program__attach(program);
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	link = fd < 0 ? NULL : bpf_program__attach_perf_event(program, fd);
	if (!link && fd >= 0)
		close(fd);
	return link;
}

static int load_one(struct loopscope_bpf *skeleton, struct bpf_program *wanted, char *log)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, skeleton->obj) {
		bpf_program__set_autoload(program, program == wanted);
	}
	/* filled only by a second try after a failure */
	bpf_program__set_log_buf(wanted, log, LOG_BYTES);
	return loopscope_bpf__load(skeleton);
}

int attach_try(enum probe_id id, char *message, size_t size)
{
	_cleanup_free_ char *log = NULL;
	struct loopscope_bpf *skeleton;
	struct bpf_program *program;
	struct bpf_link *link = NULL;
	int error;

	log = calloc(1, LOG_BYTES);
	if (!log)
		return -ENOMEM;
	libbpf_set_print(no_print);
	skeleton = loopscope_bpf__open();
	if (!skeleton)
		return -errno;
	program = bpf_object__find_program_by_name(skeleton->obj, probes[id].program);
	error = program ? load_one(skeleton, program, log) : -ENOENT;
	if (!error) {
		log[0] = '\0';
		link = attach(program, probes[id].kind);
		error = link ? 0 : -errno;
	}
	if (error) {
		snprintf(message, size, "%s", strerror(-error));
		last_line(log, message, size);
	}
	bpf_link__destroy(link);
	loopscope_bpf__destroy(skeleton);
	return error;
}
