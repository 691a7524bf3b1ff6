// SPDX-License-Identifier: Apache-2.0
#include "attach/probes.h"

const struct probe probes[PROBE_COUNT] = {
	[PROBE_SYS_EXIT] = { "sys_exit", PROBE_TRACEPOINT, true, "steps and slow calls",
			     "the kernel refuses a probe on sys_exit: no steps, no calls" },
	[PROBE_SYS_ENTER] = { "sys_enter", PROBE_ON_DEMAND, false,
			      "exact start of calls that keep the CPU",
			      "no probe on sys_enter: calls that keep the CPU are only sampled" },
	[PROBE_SCHED_SWITCH] = { "sched_switch", PROBE_TRACEPOINT, true, "where time goes",
				 "the kernel refuses a probe on sched_switch: nothing that "
				 "blocks can be seen" },
	[PROBE_CPU_CLOCK] = { "cpu_clock", PROBE_CLOCK, false, "what a step does on the CPU",
			      "no clock samples: CPU work, garbage collection and holders of "
			      "the GIL are not named" },
	[PROBE_FORK] = { "process_fork", PROBE_TRACEPOINT, false, "new workers",
			 "no probe on fork: new workers are not followed" },
	[PROBE_EXEC] = { "process_exec", PROBE_TRACEPOINT, false, "new programs",
			 "no probe on exec: a worker that executes a program is lost" },
	[PROBE_EXIT] = { "process_exit", PROBE_TRACEPOINT, false, "ends of processes",
			 "no probe on exit: the end of a worker is not noticed" },
	[PROBE_TCP_SEGMENT] = { "tcp_segment", PROBE_TRACEPOINT, false, "arrival of bytes",
				"no probe on tcp_probe: requests and replies begin when they are "
				"read, not when they arrive" },
	[PROBE_TCP_STATE] = { "tcp_state", PROBE_TRACEPOINT, false, "connections",
			      "no probe on inet_sock_set_state: ends of connections are not "
			      "seen" },
};
