/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel structs that the probes read, relocated by CO-RE: only names
 * and nesting matter, not offsets.  Kept by hand in place of a vmlinux.h.
 */
#ifndef LS_KERNEL_TYPES_H
#define LS_KERNEL_TYPES_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#ifndef __x86_64__
#if !defined(__TARGET_ARCH_x86)
#error "the probes know the registers of x86-64 only"
#endif
#endif

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFIFO 0010000
#define THREAD_SIZE 16384 /* arch/x86/include/asm/page_64_types.h without KASAN */

/* include/linux/sched.h: bits of task_struct.__state */
#define TASK_RUNNING 0x0
#define TASK_STOPPED 0x4
#define TASK_TRACED 0x8
#define TASK_FROZEN 0x8000 /* since 6.1, commit f5d39b020809 */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

struct sched_info {
	unsigned long long run_delay;
};

struct sched_entity {
	__u64 sum_exec_runtime, prev_sum_exec_runtime;
};

struct thread_struct {
	unsigned long fsbase;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct inode {
	unsigned short i_mode;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_type;
	__u8 sk_shutdown;
};

struct tcp_sock {
	__u32 copied_seq, rcv_nxt;
};

struct sk_buff {
	unsigned int len;
	__u16 transport_header;
	unsigned char *head;
};

struct socket {
	struct sock *sk;
};

struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;	/* threads of the process that have not ended */
};

struct task_struct {
	unsigned int __state;
	void *stack;
	int pid, tgid;
	int exit_code;
	struct task_struct *group_leader;
	__u64 utime, stime;
	__u64 start_time;	/* CLOCK_MONOTONIC */
	__u64 start_boottime;
	struct sched_info sched_info;
	struct sched_entity se;
	struct files_struct *files;
	struct signal_struct *signal;
	struct thread_struct thread;
	char comm[16];
};

/* before 5.14, commit 2f064a59a11f */
struct task_struct___state {
	volatile long state;
};

#pragma clang attribute pop

/* Context of a perf_event program: bpf_perf_event_data with the kernel's register names. */
struct perf_sample_context {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
	__u64 sample_period, addr;
};

#endif
