/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Saved user registers of a task, and its counters, on all supported kernels. */
#ifndef LS_REGISTERS_BPF_H
#define LS_REGISTERS_BPF_H

#include "maps.bpf.h"

struct call_registers {
	long number;	/* -1: the thread is in no system call */
	__u64 args[4];
	__u64 ip;
};

static __always_inline void registers_copy(struct call_registers *to, const struct pt_regs *regs)
{
	to->number = (long)BPF_CORE_READ(regs, orig_ax);
	to->args[0] = BPF_CORE_READ(regs, di);
	to->args[1] = BPF_CORE_READ(regs, si);
	to->args[2] = BPF_CORE_READ(regs, dx);
	to->args[3] = BPF_CORE_READ(regs, r10);
	to->ip = BPF_CORE_READ(regs, ip);
}

/* Registers with which `task` entered the kernel. */
static __always_inline const struct pt_regs *user_registers(struct task_struct *task)
{
	/* helper since 5.15, commit dd6e10fbd9fb */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (const struct pt_regs *)bpf_task_pt_regs(task);
	return (const struct pt_regs *)(BPF_CORE_READ(task, stack) + THREAD_SIZE -
					sizeof(struct pt_regs));
}

static __always_inline unsigned int task_state(struct task_struct *task)
{
	struct task_struct___state *old = (void *)task;

	if (bpf_core_field_exists(task->__state))
		return BPF_CORE_READ(task, __state);
	return (unsigned int)BPF_CORE_READ(old, state);
}

static __always_inline int is_epoll_wait(long number)
{
	return number == 232 || number == 281 || number == 441;
}

#define NR_CLOSE 3
#define NR_FUTEX 202
#define NR_RESTART_SYSCALL 219

#endif
