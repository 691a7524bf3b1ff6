/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which system calls are looked into for what they sent and received. */
#ifndef LS_IO_BPF_H
#define LS_IO_BPF_H

#include "maps.bpf.h"

/* arch/x86/entry/syscalls/syscall_64.tbl */
enum {
	NR_READ = 0, NR_WRITE = 1, NR_READV = 19, NR_WRITEV = 20, NR_CONNECT = 42,
	NR_SENDTO = 44, NR_RECVFROM = 45, NR_SENDMSG = 46, NR_RECVMSG = 47, NR_SENDMMSG = 307,
};

#define EINPROGRESS 115	/* include/uapi/asm-generic/errno.h */

static __always_inline bool is_transfer(long number)
{
	return number == NR_READ || number == NR_WRITE || number == NR_READV ||
	       number == NR_WRITEV || (number >= NR_SENDTO && number <= NR_RECVMSG) ||
	       number == NR_CONNECT || number == NR_SENDMMSG;
}

int global_socket_io(__u32 context, __u32 process, __u64 tstate);

#endif
