// SPDX-License-Identifier: Apache-2.0
#include "attach/attach_internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"

static int libbpf_log(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (log_level < LOG_DEBUG || level == LIBBPF_DEBUG)
		return 0;
	return vfprintf(stderr, format, arguments);
}

static int fail(int error, char *message, size_t size, const char *text)
{
	snprintf(message, size, "%s (%s)", text, strerror(-error));
	return error;
}

static int load(struct attachment *a, const struct attach_options *options, char *message,
		size_t size)
{
	struct loopscope_bpf *skeleton;
	int error;

	skeleton = loopscope_bpf__open();
	if (!skeleton)
		return fail(-errno, message, size, "cannot open the probes");
	a->skeleton = skeleton;
	skeleton->rodata->probe.slow_call_ns = options->slow_call_ns;
	skeleton->rodata->probe.step_ns = options->step_ns;
	skeleton->rodata->probe.sample_after_ns = options->sample_after_ns;
	skeleton->rodata->probe.urgent_ns = options->urgent_ns;
	skeleton->rodata->probe.drop_per_mille = options->drop_per_mille;
	if (options->ring_bytes)
		bpf_map__set_max_entries(skeleton->maps.events, options->ring_bytes);
	error = loopscope_bpf__load(skeleton);
	if (error == -EPERM)
		return fail(-EPERM, message, size,
			    "no privileges to load eBPF programs; run as root or with "
			    "CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE");
	if (error == -ESRCH || error == -ENOENT || access("/sys/kernel/btf/vmlinux", R_OK))
		return fail(-EOPNOTSUPP, message, size,
			    "this kernel has no type information (BTF); a kernel built with "
			    "CONFIG_DEBUG_INFO_BTF=y is needed");
	if (error)
		return fail(error == -EINVAL || error == -EACCES ? -EOPNOTSUPP : error, message,
			    size,
			    "this kernel does not take the probes; `loopscope doctor` says more");
	return 0;
}

static int map_loops(struct attachment *a)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *memory;

	a->loops_bytes = (sizeof(struct loop_slot) * LS_MAX_LOOPS + page - 1) / page * page;
	memory = mmap(NULL, a->loops_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		      bpf_map__fd(a->skeleton->maps.loops), 0);
	if (memory == MAP_FAILED)
		return -errno;
	a->loops = memory;
	return 0;
}

static struct bpf_link *attach_clock(struct attachment *a, int cpu, unsigned rate)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_freq = rate,
		.freq = 1,
	};
	struct bpf_link *link;
	int fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		return NULL;
	link = bpf_program__attach_perf_event(a->skeleton->progs.cpu_clock, fd);
	if (!link)
		close(fd);
	return link;
}

/* A CPU that is offline has no clock and needs none. */
static int attach_clocks(struct attachment *a, unsigned rate)
{
	int count = libbpf_num_possible_cpus(), attached = 0, error = -ENODEV;

	if (count <= 0 || !rate)
		return 0;
	a->clocks = calloc((size_t)count, sizeof(struct bpf_link *));
	if (!a->clocks)
		return -ENOMEM;
	a->clock_count = count;
	for (int cpu = 0; cpu < count; cpu++) {
		a->clocks[cpu] = attach_clock(a, cpu, rate);
		if (a->clocks[cpu])
			attached++;
		else
			error = -errno;
	}
	return attached ? 0 : error;
}

static struct bpf_program *program_of(const struct attachment *a, enum probe_id id)
{
	return bpf_object__find_program_by_name(a->skeleton->obj, probes[id].program);
}

static int attach_probe(struct attachment *a, enum probe_id id)
{
	a->links[id] = bpf_program__attach(program_of(a, id));
	return a->links[id] ? 0 : -errno;
}

static int attach_all(struct attachment *a, const struct attach_options *options, char *message,
		      size_t size)
{
	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		int error = 0;

		if (probes[i].kind == PROBE_TRACEPOINT)
			error = attach_probe(a, i);
		else if (probes[i].kind == PROBE_CLOCK)
			error = attach_clocks(a, options->rate_hz);
		if (!error)
			continue;
		if (probes[i].required)
			return fail(error, message, size, probes[i].without);
		if (a->missing_count < MAX_MISSING)
			a->missing[a->missing_count++] = probes[i].without;
	}
	return 0;
}

int attach_open(const struct attach_options *options, struct attachment **ret_attachment,
		char *message, size_t size)
{
	struct attachment *a = calloc(1, sizeof(*a));
	int error;

	if (!a)
		return fail(-ENOMEM, message, size, "cannot attach");
	libbpf_set_print(libbpf_log);
	error = load(a, options, message, size);
	if (!error) {
		error = map_loops(a);
		if (error)
			fail(error, message, size, "cannot map the loop slots");
	}
	if (!error)
		error = attach_all(a, options, message, size);
	if (error) {
		attach_free(a);
		return error;
	}
	*ret_attachment = a;
	return 0;
}

void attach_free(struct attachment *a)
{
	if (!a)
		return;
	for (unsigned i = 0; i < PROBE_COUNT; i++)
		bpf_link__destroy(a->links[i]);
	for (int cpu = 0; cpu < a->clock_count; cpu++)
		bpf_link__destroy(a->clocks[cpu]);
	free(a->clocks);
	if (a->loops)
		munmap(a->loops, a->loops_bytes);
	loopscope_bpf__destroy(a->skeleton);
	free(a);
}

/* The first processes are compared one by one, see is_target() in bpf/maps.bpf.h. */
static void filter_refresh(struct attachment *a)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < LS_MAX_PROCESSES; i++) {
		if (!a->process_tgids[i])
			continue;
		if (count < LS_MAX_FILTER)
			a->skeleton->bss->filter_tgids[count] = a->process_tgids[i];
		count++;
	}
	__atomic_store_n(&a->skeleton->bss->filter_count, count, __ATOMIC_RELEASE);
}

int attach_add_process(struct attachment *a, const struct process_config *config)
{
	for (uint32_t slot = 0; slot < LS_MAX_PROCESSES; slot++) {
		static const struct key_memo memo;
		struct process_runtime runtime = { .loop = -1 };

		if (a->process_tgids[slot])
			continue;
		if (bpf_map_update_elem(bpf_map__fd(a->skeleton->maps.processes), &slot, config,
					BPF_ANY) ||
		    bpf_map_update_elem(bpf_map__fd(a->skeleton->maps.process_runtimes), &slot,
					&runtime, BPF_ANY) ||
		    bpf_map_update_elem(bpf_map__fd(a->skeleton->maps.key_memos), &slot, &memo,
					BPF_ANY) ||
		    bpf_map_update_elem(bpf_map__fd(a->skeleton->maps.process_index),
					&config->tgid, &slot, BPF_ANY))
			return -errno;
		a->process_tgids[slot] = config->tgid;
		filter_refresh(a);
		return (int)slot;
	}
	return -ENOSPC;
}

int attach_update_process(struct attachment *a, int process, const struct process_config *config)
{
	uint32_t slot = (uint32_t)process;

	return bpf_map_update_elem(bpf_map__fd(a->skeleton->maps.processes), &slot, config,
				   BPF_ANY) ? -errno : 0;
}

void attach_remove_process(struct attachment *a, int process)
{
	uint32_t tgid;

	if (process < 0 || process >= LS_MAX_PROCESSES)
		return;
	tgid = a->process_tgids[process];
	a->process_tgids[process] = 0;
	filter_refresh(a);
	bpf_map_delete_elem(bpf_map__fd(a->skeleton->maps.process_index), &tgid);
}

int attach_follow(struct attachment *a, pid_t pid)
{
	uint32_t tgid = (uint32_t)pid, one = 1;

	return bpf_map_update_elem(bpf_map__fd(a->skeleton->maps.followed), &tgid, &one, BPF_ANY)
		       ? -errno : 0;
}

int attach_set_role(struct attachment *a, pid_t tgid, uint64_t code, const struct code_role *role)
{
	struct code_role_key key = { .code = code, .tgid = (uint32_t)tgid };

	return bpf_map_update_elem(bpf_map__fd(a->skeleton->maps.code_roles), &key, role, BPF_ANY)
		       ? -errno : 0;
}

void attach_clear_role(struct attachment *a, pid_t tgid, uint64_t code)
{
	struct code_role_key key = { .code = code, .tgid = (uint32_t)tgid };

	bpf_map_delete_elem(bpf_map__fd(a->skeleton->maps.code_roles), &key);
}

void attach_set_listeners(struct attachment *a, const struct listener *listeners, size_t count)
{
	uint32_t *known = &a->skeleton->bss->listener_count;

	if (count > LS_MAX_LISTENERS)
		count = LS_MAX_LISTENERS;
	__atomic_store_n(known, 0, __ATOMIC_RELEASE);
	memcpy(a->skeleton->bss->listeners, listeners, count * sizeof(*listeners));
	__atomic_store_n(known, (uint32_t)count, __ATOMIC_RELEASE);
}

const volatile struct loop_slot *attach_loops(const struct attachment *a)
{
	return a->loops;
}

int attach_entries(struct attachment *a, bool on)
{
	struct bpf_link **link = &a->links[PROBE_SYS_ENTER];

	if (on && !*link)
		return attach_probe(a, PROBE_SYS_ENTER);
	if (!on && *link) {
		bpf_link__destroy(*link);
		*link = NULL;
	}
	return 0;
}

void attach_wake_on_request(struct attachment *a)
{
	__atomic_store_n(&a->skeleton->bss->drowsy, 1, __ATOMIC_RELEASE);
}

void attach_mute(struct attachment *a)
{
	__atomic_store_n(&a->skeleton->bss->muted, 1, __ATOMIC_RELEASE);
}

int attach_counters(const struct attachment *a, uint64_t ret_counters[COUNTER_COUNT])
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values;

	if (cpus <= 0)
		return -EINVAL;
	values = calloc((size_t)cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < COUNTER_COUNT; i++) {
		ret_counters[i] = 0;
		if (bpf_map_lookup_elem(bpf_map__fd(a->skeleton->maps.counters), &i, values))
			continue;
		for (int cpu = 0; cpu < cpus; cpu++)
			ret_counters[i] += values[cpu];
	}
	free(values);
	ret_counters[COUNTER_loop_slots_full] += a->loops_refused;
	return 0;
}

uint64_t attach_lost(const struct attachment *a)
{
	static const uint32_t counters[] = {
#define X(name, text) COUNTER_##name,
		LOSS_COUNTERS(X)
#undef X
	};
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL, sum = 0;

	for (size_t i = 0; values && i < sizeof(counters) / sizeof(counters[0]); i++)
		if (!bpf_map_lookup_elem(bpf_map__fd(a->skeleton->maps.counters), &counters[i],
					 values))
			for (int cpu = 0; cpu < cpus; cpu++)
				sum += values[cpu];
	free(values);
	return sum;
}

int attach_ring_fd(const struct attachment *a)
{
	return bpf_map__fd(a->skeleton->maps.events);
}

bool attach_sees_arrivals(const struct attachment *a)
{
	return a->links[PROBE_TCP_SEGMENT] != NULL;
}

const char *attach_missing(const struct attachment *a, size_t index)
{
	return index < a->missing_count ? a->missing[index] : NULL;
}

double attach_kernel_seconds(const struct attachment *a)
{
	struct bpf_program *program;
	double total = 0;

	bpf_object__for_each_program(program, a->skeleton->obj) {
		struct bpf_prog_info info = { 0 };
		uint32_t length = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length))
			return -1;
		total += (double)info.run_time_ns / NS_PER_S;
	}
	return total > 0 ? total : -1;
}
