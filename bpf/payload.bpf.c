// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* How the bytes of a transfer begin and end, from the buffers of its system call. */
#include "io.bpf.h"

#define IOV_LOOKED_AT 16

/* include/uapi/linux/uio.h, include/linux/socket.h: the same on all 64-bit kernels */
struct user_iov {
	__u64 base, length;
};

struct user_msghdr {
	__u64 name;
	__u32 name_length, pad;
	__u64 iov, iov_count;
};

/* Finds the buffers of the call. */
static __always_inline void buffers_find(struct io_state *io)
{
	struct user_msghdr message = {};

	io->iov = 0;
	io->iov_count = 0;
	io->buffer = io->args[1];
	io->left = io->result > 0 ? (__u64)io->result : 0;
	switch (io->number) {
	case NR_READV: case NR_WRITEV:
		io->iov = io->args[1];
		io->iov_count = (__u32)io->args[2];
		break;
	case NR_SENDMSG: case NR_RECVMSG: case NR_SENDMMSG:
		if (bpf_probe_read_user(&message, sizeof(message), (const void *)io->args[1]))
			io->left = 0;
		io->iov = message.iov;
		io->iov_count = (__u32)message.iov_count;
		if (io->number == NR_SENDMMSG)
			io->left = ~0ull; /* the result counts messages, the first one is taken */
		break;
	}
}

/* The last bytes of a transfer may be in several buffers: adds those of the next one. */
static __always_inline void tail_add(struct io_state *io, __u64 end, __u64 length)
{
	__u32 size = length < LS_TAIL_BYTES ? (__u32)length : LS_TAIL_BYTES;
	__u32 had = io->tail_bytes & 15, kept = LS_TAIL_BYTES - size;
	__u64 old, fresh = 0;

	if (bpf_probe_read_user(&fresh, size, (const void *)(end - size)))
		return;
	if (kept > had)
		kept = had;
	__builtin_memcpy(&old, io->tail, sizeof(old));
	if (kept)
		fresh = fresh << (8 * kept & 63) | old >> (8 * (had - kept) & 63);
	__builtin_memcpy(io->tail, &fresh, sizeof(fresh));
	io->tail_bytes = kept + size;
}

/* All bytes of the transfer are in its head: the last ones, too. */
static __always_inline void tail_of_head(struct scratch *s)
{
	__u32 size = s->io.head_bytes < LS_TAIL_BYTES ? s->io.head_bytes : LS_TAIL_BYTES;
	__u64 last;

	__builtin_memcpy(&last, payload_of(s) + ((s->io.head_bytes - size) & (LS_HEAD_BYTES - 1)),
			 sizeof(last));
	if (size < LS_TAIL_BYTES)
		last &= (1ull << (8 * size)) - 1;
	__builtin_memcpy(s->io.tail, &last, sizeof(last));
	s->io.tail_bytes = size;
}

/* Takes one buffer into head and tail. */
__noinline int global_buffer_take(__u32 context, __u64 base, __u64 length, __u32 wanted)
{
	struct scratch *s = scratch_of(context);
	__u32 at, size;

	if (!s)
		return 0;
	at = s->io.head_bytes;
	s->io.given += length;
	if (length > s->io.left)
		length = s->io.left;
	if (!length)
		return 0;
	if (at < wanted && at < LS_HEAD_BYTES) {
		size = wanted - at;
		if (length < size)
			size = (__u32)length;
		if (size > LS_HEAD_BYTES)
			size = LS_HEAD_BYTES;
		if (!bpf_probe_read_user(payload_of(s) + (at & (LS_HEAD_BYTES - 1)), size,
					 (const void *)base))
			s->io.head_bytes = at + size;
	}
	s->io.left -= length;
	if (!s->io.short_one)
		tail_add(&s->io, base + length, length);
	return 0;
}

/* Copies the first `wanted` bytes and the last ones of the transfer to the scratch slot. */
__noinline int global_payload_read(__u32 context, __u32 wanted)
{
	struct scratch *s = scratch_of(context);
	struct user_iov iov;

	if (!s)
		return 0;
	if (s->io.number == NR_SENDMMSG)
		s->io.messages = (__u32)s->io.result;
	buffers_find(&s->io);
	s->io.head_bytes = 0;
	s->io.tail_bytes = 0;
	s->io.first_bytes = 0;
	s->io.given = 0;
	s->io.short_one = s->io.left <= wanted && s->io.left <= LS_HEAD_BYTES;
	if (!s->io.iov) {
		global_buffer_take(context, s->io.buffer, s->io.args[2], wanted);
		if (s->io.short_one)
			tail_of_head(s);
		return 0;
	}
	for (__u32 i = 0; i < IOV_LOOKED_AT; i++) {
		if (i >= s->io.iov_count || bpf_probe_read_user(&iov, sizeof(iov),
							  (const void *)(s->io.iov + 16ull * i)))
			break;
		if (!i)
			s->io.first_bytes = (__u32)iov.length;
		global_buffer_take(context, iov.base, iov.length, wanted);
	}
	if (s->io.short_one)
		tail_of_head(s);
	if (s->io.number == NR_SENDMMSG)
		s->io.result = s->io.given;
	return 0;
}
