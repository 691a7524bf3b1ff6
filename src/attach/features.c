// SPDX-License-Identifier: Apache-2.0
#include "attach/features.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF 39
#endif

static struct btf *vmlinux;	/* read once, by whoever asks first */

static const struct btf *kernel_types(void)
{
	if (!vmlinux)
		vmlinux = btf__load_vmlinux_btf();
	if (libbpf_get_error(vmlinux))
		vmlinux = NULL;
	return vmlinux;
}

void features_release(void)
{
	btf__free(vmlinux);
	vmlinux = NULL;
}

static int probe_btf(const struct feature *feature, char *detail)
{
	if (access(feature->subject, R_OK)) {
		snprintf(detail, FEATURE_DETAIL, "%s: %s", feature->subject, strerror(errno));
		return -ENOENT;
	}
	return kernel_types() ? 0 : -EINVAL;
}

/* A tracepoint that tp_btf can attach to has a type of its own. */
static int probe_tracepoint(const struct feature *feature, char *detail)
{
	const struct btf *btf = kernel_types();

	(void)detail;
	return btf && btf__find_by_name_kind(btf, feature->subject, BTF_KIND_TYPEDEF) > 0
		       ? 0 : -ENOENT;
}

/* A helper that programs may call has a number in this enumeration. */
static int probe_helper(const struct feature *feature, char *detail)
{
	const struct btf *btf = kernel_types();
	int id = btf ? btf__find_by_name_kind(btf, "bpf_func_id", BTF_KIND_ENUM) : -ENOENT;
	const struct btf_type *type = id > 0 ? btf__type_by_id(btf, (__u32)id) : NULL;
	const struct btf_enum *values = type ? btf_enum(type) : NULL;

	(void)detail;
	for (unsigned i = 0; type && i < btf_vlen(type); i++)
		if (!strcmp(btf__name_by_offset(btf, values[i].name_off), feature->subject))
			return 0;
	return -ENOENT;
}

static const struct btf_member *find_member(const struct btf *btf, const struct btf_type *type,
					    const char *name)
{
	for (unsigned i = 0; i < btf_vlen(type); i++) {
		const char *called = btf__name_by_offset(btf, btf_members(type)[i].name_off);

		if (called && !strcmp(called, name))
			return &btf_members(type)[i];
	}
	return NULL;
}

/* The member is there without CONFIG_SCHED_INFO, too: as an empty struct. */
static int probe_run_delay(const struct feature *feature, char *detail)
{
	const struct btf *btf = kernel_types();
	int id = btf ? btf__find_by_name_kind(btf, "sched_info", BTF_KIND_STRUCT) : -ENOENT;
	const struct btf_type *type = id > 0 ? btf__type_by_id(btf, (__u32)id) : NULL;

	(void)detail;
	return type && find_member(btf, type, feature->subject) ? 0 : -ENOENT;
}

/* The smallest program of the kind that all probes but the clock are. */
static int probe_program_type(const struct feature *feature, char *detail)
{
	const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },	/* r0 = 0 */
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct bpf_prog_load_opts options = { .sz = sizeof(options),
					      .expected_attach_type = BPF_TRACE_RAW_TP };
	const struct btf *btf = kernel_types();
	int id = btf ? btf__find_by_name_kind(btf, feature->subject, BTF_KIND_TYPEDEF) : -ENOENT;
	int fd;

	if (id < 0)
		return id;
	options.attach_btf_id = (__u32)id;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, NULL, "GPL", nothing,
			   sizeof(nothing) / sizeof(nothing[0]), &options);
	if (fd < 0) {
		snprintf(detail, FEATURE_DETAIL, "%s", strerror(errno));
		return -errno;
	}
	close(fd);
	return 0;
}

static int probe_ring(const struct feature *feature, char *detail)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, NULL, 0, 0,
				(__u32)sysconf(_SC_PAGESIZE), NULL);

	(void)feature;
	if (fd < 0) {
		snprintf(detail, FEATURE_DETAIL, "%s", strerror(errno));
		return -errno;
	}
	close(fd);
	return 0;
}

static int probe_mapped_array(const struct feature *feature, char *detail)
{
	struct bpf_map_create_opts options = { .sz = sizeof(options),
					       .map_flags = BPF_F_MMAPABLE };
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, &options);

	(void)feature;
	if (fd < 0) {
		snprintf(detail, FEATURE_DETAIL, "%s", strerror(errno));
		return -errno;
	}
	close(fd);
	return 0;
}

static int probe_clock(const struct feature *feature, char *detail)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_freq = 1,
		.freq = 1,
	};
	_cleanup_file_ FILE *file = fopen(feature->subject, "re");
	_cleanup_fd_ int fd = -1;
	int level = 0, error;

	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	error = fd < 0 ? -errno : 0;
	if (file && fscanf(file, "%d", &level) == 1)
		snprintf(detail, FEATURE_DETAIL, "perf_event_paranoid is %d", level);
	return error;
}

static int probe_lockdown(const struct feature *feature, char *detail)
{
	_cleanup_file_ FILE *file = NULL;
	char line[80] = "";

	file = fopen(feature->subject, "re");
	if (!file || !fgets(line, sizeof(line), file))
		return 0;
	line[strcspn(line, "\n")] = '\0';
	snprintf(detail, FEATURE_DETAIL, "%s", line);
	return strstr(line, "[confidentiality]") ? -EOPNOTSUPP : 0;
}

/* The effective capabilities of this process. */
static int probe_capability(const struct feature *feature, char *detail)
{
	_cleanup_file_ FILE *file = NULL;
	uint64_t has = 0, wanted = 1ull << CAP_SYS_PTRACE;
	char line[256];

	(void)detail;
	file = fopen("/proc/self/status", "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "CapEff: %" SCNx64, &has) == 1)
			break;
	if (!strcmp(feature->subject, "bpf"))
		wanted = 1ull << CAP_BPF | 1ull << CAP_SYS_ADMIN;
	else if (!strcmp(feature->subject, "perfmon"))
		wanted = 1ull << CAP_PERFMON | 1ull << CAP_SYS_ADMIN;
	return has & wanted ? 0 : -EPERM;
}

#define NEWER "a newer kernel of the distribution"
#define AS_ROOT "run as root, or give the program the capability (setcap, securityContext)"
#define TRACEPOINT(event, is_required, lost, origin) \
	{ "tp_btf " event, false, is_required, origin, lost, \
	  "a kernel with CONFIG_FTRACE_SYSCALLS and CONFIG_DEBUG_INFO_BTF", probe_tracepoint, \
	  "btf_trace_" event }

const struct feature features[] = {
	{ "btf", false, true, "5.4 341dfcf8d78e", "nothing can be observed",
	  "a kernel with CONFIG_DEBUG_INFO_BTF=y", probe_btf, "/sys/kernel/btf/vmlinux" },
	{ "tracing programs", false, true, "5.5 f1b9509c2fb0", "nothing can be observed", NEWER,
	  probe_program_type, "btf_trace_sched_switch" },
	TRACEPOINT("sys_exit", true, "no steps, no calls", "5.5 f1b9509c2fb0"),
	TRACEPOINT("sys_enter", false, "calls that keep the CPU are only sampled",
		   "5.5 f1b9509c2fb0"),
	TRACEPOINT("sched_switch", true, "nothing that blocks can be seen", "5.5 f1b9509c2fb0"),
	TRACEPOINT("sched_process_fork", false, "new workers are not followed",
		   "5.5 f1b9509c2fb0"),
	TRACEPOINT("sched_process_exec", false, "a worker that executes a program is lost",
		   "5.5 f1b9509c2fb0"),
	TRACEPOINT("sched_process_exit", false, "the end of a worker is not noticed",
		   "5.5 f1b9509c2fb0"),
	TRACEPOINT("tcp_probe", false,
		   "requests and replies begin when they are read, not when they arrive",
		   "5.5 f1b9509c2fb0"),
	TRACEPOINT("inet_sock_set_state", false, "ends of connections are not seen",
		   "5.5 f1b9509c2fb0"),
	{ "ring buffer", false, true, "5.8 457f44363a88", "no events", NEWER, probe_ring, NULL },
	{ "mapped arrays", false, true, "5.5 fc9702273e2e",
	  "a loop that hangs cannot be reported while it does", NEWER, probe_mapped_array, NULL },
	{ "cpu clock", false, false, "2.6.31",
	  "CPU work, garbage collection and holders of the GIL are not named",
	  "sysctl kernel.perf_event_paranoid=2", probe_clock,
	  "/proc/sys/kernel/perf_event_paranoid" },
	{ "run delay", false, true, "2.6.29 (CONFIG_SCHED_INFO)",
	  "waits for a CPU cannot be told from blocking calls", "a kernel with CONFIG_SCHED_INFO",
	  probe_run_delay, "run_delay" },
	{ "bpf_task_pt_regs", false, false, "5.15 dd6e10fbd9fb",
	  "nothing: the registers are found by their place on the stack", NEWER, probe_helper,
	  "BPF_FUNC_task_pt_regs" },
	{ "bpf_get_current_task_btf", false, false, "5.11 3ca1032ab7ab",
	  "nothing: another helper is used", NEWER, probe_helper,
	  "BPF_FUNC_get_current_task_btf" },
	{ "no lockdown", true, true, "5.4 000d388ed3bb", "eBPF may not read kernel memory",
	  "boot without lockdown=confidentiality", probe_lockdown,
	  "/sys/kernel/security/lockdown" },
	{ "CAP_BPF", true, true, "5.8 a17b53c4a4b5", "no program can be loaded", AS_ROOT,
	  probe_capability, "bpf" },
	{ "CAP_PERFMON", true, true, "5.8 980737282232", "no program can be attached", AS_ROOT,
	  probe_capability, "perfmon" },
	{ "CAP_SYS_PTRACE", true, false, "2.2",
	  "only processes of the same user can be read", AS_ROOT, probe_capability, "ptrace" },
};

const size_t feature_count = sizeof(features) / sizeof(features[0]);

int feature_probe(const struct feature *feature, char *detail, const char **ret_way_out)
{
	int error;

	detail[0] = '\0';
	error = feature->probe(feature, detail);
	*ret_way_out = error == -EPERM || error == -EACCES ? AS_ROOT : feature->way_out;
	return error;
}
