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

/* include/uapi/asm-generic/errno.h */
#define EISCONN 106
#define ECONNREFUSED 111
#define EALREADY 114
#define EINPROGRESS 115

static __always_inline bool is_transfer(long number)
{
	return number == NR_READ || number == NR_WRITE || number == NR_READV ||
	       number == NR_WRITEV || (number >= NR_SENDTO && number <= NR_RECVMSG) ||
	       number == NR_CONNECT || number == NR_SENDMMSG;
}

enum {
	IO_RECORD_NONE = 0,
	IO_RECORD_TRANSFER,
	IO_RECORD_RESPONSE,
	IO_RECORD_CALL,
	IO_RECORD_LOGGED,
};

/* Where the bytes at hand are kept until their record is made. */
static __always_inline __u8 *payload_of(struct scratch *s)
{
	return s->transfer.head;
}

int global_payload_read(__u32 context, __u32 wanted);
int global_socket_io(__u32 context, __u32 process);
int global_transfer_send(__u32 context);
int global_response_send(__u32 context);
int global_message_send(__u32 context, __u64 tstate);
int global_logged_send(__u32 context);
int global_second_send(__u32 context);

/* Records the transfer whose registers are in the scratch slot. */
static __always_inline void socket_io(__u32 context, __u32 process, __u64 tstate, long number)
{
	switch (global_socket_io(context, process)) {
	case IO_RECORD_TRANSFER:
		global_transfer_send(context);
		break;
	case IO_RECORD_RESPONSE:
		global_response_send(context);
		break;
	case IO_RECORD_CALL:
		global_message_send(context, tstate);
		if (number == NR_SENDMMSG)
			global_second_send(context);
		break;
	case IO_RECORD_LOGGED:
		global_logged_send(context);
		break;
	}
}

#endif
