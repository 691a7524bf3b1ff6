// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a thread of an observed process sent and received on a socket, at the
 * exit of the system call: who is at the other end, how the bytes begin and end,
 * when they had arrived, and for which request.
 */
#include "connections.bpf.h"
#include "descriptor.bpf.h"
#include "io.bpf.h"
#include "loop_clock.bpf.h"
#include "python.bpf.h"
#include "work.bpf.h"

#define IOV_LOOKED_AT 16
#define CONTINUED_NS 5000000ull	/* sends this close together are one message */
#define RECEIVED_HEAD_BYTES 64	/* of a peer's reply */
#define CHUNK_HEAD_BYTES 24	/* of a further part of a response */
#define SCOPE_FRAMES 12		/* a response is written this close to its scope at most */

static __always_inline int direction_of(__u32 number)
{
	switch (number) {
	case NR_READ: case NR_READV: case NR_RECVFROM: case NR_RECVMSG:
		return IO_RECEIVE;
	case NR_CONNECT:
		return IO_CONNECT;
	}
	return IO_SEND;
}

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
		if (!bpf_probe_read_user(s->payload + (at & (LS_HEAD_BYTES - 1)), size,
					 (const void *)base))
			s->io.head_bytes = at + size;
	}
	s->io.left -= length;
	if (!s->io.left) {
		size = length < LS_TAIL_BYTES ? (__u32)length : LS_TAIL_BYTES;
		if (!bpf_probe_read_user(s->io.tail, size, (const void *)(base + length - size)))
			s->io.tail_bytes = size;
	}
	return 0;
}

/* Copies the first `wanted` bytes and the last ones of the transfer to the scratch slot. */
__noinline int global_payload_read(__u32 context, __u32 wanted)
{
	struct scratch *s = scratch_of(context);
	struct user_iov iov;

	if (!s)
		return 0;
	buffers_find(&s->io);
	s->io.head_bytes = 0;
	s->io.tail_bytes = 0;
	s->io.first_bytes = 0;
	s->io.given = 0;
	if (!s->io.iov)
		return global_buffer_take(context, s->io.buffer, s->io.args[2], wanted);
	for (__u32 i = 0; i < IOV_LOOKED_AT; i++) {
		if (i >= s->io.iov_count || bpf_probe_read_user(&iov, sizeof(iov),
							  (const void *)(s->io.iov + 16ull * i)))
			break;
		if (!i)
			s->io.first_bytes = (__u32)iov.length;
		global_buffer_take(context, iov.base, iov.length, wanted);
	}
	if (s->io.number == NR_SENDMMSG)
		s->io.result = s->io.given;
	return 0;
}

/*
 * Describes a socket that is not in the map.  TCP is remembered; others have no
 * state that tells of their end, so they are looked at anew each time.
 */
static __always_inline struct connection *connection_new(struct scratch *s, struct sock *sk)
{
	struct connection *fresh = &s->connection;
	__u16 type = BPF_CORE_READ(sk, sk_type);
	__u64 key = (__u64)sk;

	bpf_probe_read_kernel(fresh, sizeof(*fresh), zeros);
	fresh->loop = -1;
	fresh->id = connection_number(s->io.now);
	fresh->role = ROLE_OTHER;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX) {
		struct unix_sock *own = (struct unix_sock *)sk;
		struct unix_sock *peer = (struct unix_sock *)BPF_CORE_READ(own, peer);

		fresh->id = key | 1;
		fresh->family = FD_UNIX;
		if (type == SOCK_STREAM && BPF_CORE_READ(own, addr))
			fresh->role = ROLE_SERVER;
		else if (type == SOCK_STREAM && peer && BPF_CORE_READ(peer, addr))
			fresh->role = ROLE_CLIENT;
		return fresh;
	}
	if (!connection_address(fresh, sk))
		return fresh;
	if (type == SOCK_DGRAM) {
		fresh->id = (key ^ (__u64)fresh->peer_port << 48) | 1;
		fresh->flags = IO_DATAGRAM;
		fresh->role = fresh->peer_port ? ROLE_CLIENT : ROLE_OTHER;
		return fresh;
	}
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN)
		return fresh;
	fresh->role = listener_of(sk) ? ROLE_SERVER : ROLE_CLIENT;
	if (s->io.number == NR_CONNECT)
		fresh->flags = IO_SEEN_OPENING;
	if (s->io.number == NR_CONNECT && !s->io.result)
		fresh->opened_ns = s->io.now;
	if (s->io.number == NR_CONNECT && s->io.result && s->io.result != -EINPROGRESS)
		return fresh; /* it has no future */
	return connection_insert(key, fresh);
}

static __always_inline struct connection *connection_of(struct scratch *s, struct file *file,
							struct sock **ret_sk)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	struct connection *connection;
	__u64 key = (__u64)sk;

	connection = bpf_map_lookup_elem(&connections, &key);
	*ret_sk = sk;
	if (connection)
		return connection;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	return connection_new(s, sk);
}

/* The part of a record that all transfers share. */
static __always_inline void io_fill(struct scratch *s, struct io_record *io,
				    struct connection *connection, struct sock *sk, int direction,
				    struct loop_slot *slot)
{
	io->connection = connection->id;
	io->opened_ns = connection->opened_ns;
	io->bytes = s->io.result;
	io->first_bytes = s->io.first_bytes;
	io->head_bytes = (__u16)s->io.head_bytes;
	io->tail_bytes = (__u8)s->io.tail_bytes;
	io->direction = (__u8)direction;
	io->role = connection->role;
	io->family = connection->family;
	io->flags = connection->flags;
	if (direction == IO_SEND && s->io.result >= 0 && s->io.given > (__u64)s->io.result)
		io->flags |= IO_PARTIAL;
	io->peer_port = connection->peer_port;
	io->local_port = connection->local_port;
	io->process = connection->process;
	io->loop = s->io.loop;
	__builtin_memcpy(io->address, connection->address, sizeof(io->address));
	__builtin_memcpy(io->tail, s->io.tail, sizeof(io->tail));
	if (direction == IO_RECEIVE && s->io.result > 0 &&
	    !(connection->flags & IO_DATAGRAM) && connection->family != FD_UNIX)
		arrival_take(connection, BPF_CORE_READ((struct tcp_sock *)sk, copied_seq),
			     (__u32)s->io.result, io);
	if (slot) {
		io->step_seq = slot->seq;
		own_take(slot, &io->own, s->io.now);
	}
}

static __always_inline bool begins_response(const struct scratch *s)
{
	return s->io.head_bytes >= 12 && *(const __u32 *)s->payload == 0x50545448 /* HTTP */ &&
	       s->payload[4] == '/' && s->payload[5] == '1';
}

/* RFC 8446, 5.1: handshake and application data, of all versions. */
static __always_inline bool is_tls(const struct scratch *s)
{
	return s->io.head_bytes >= 3 && (s->payload[0] == 0x16 || s->payload[0] == 0x17) &&
	       s->payload[1] == 0x03 && s->payload[2] <= 0x04;
}

/* The request that the calling loop thread works for, without a stack. */
static __always_inline bool request_only(struct scratch *s, struct event_message *message,
					 const struct loop_slot *slot, bool tls)
{
	if (!same_process(slot->process))
		return false;
	walk_begin(s, CONTEXT_SYSCALL, slot->process, slot, slot->tstate);
	s->walk.scope = 0;
	s->walk.host = 0;
	s->stack.count = 0;
	s->stack.end = STACK_NONE;
	global_current_task(CONTEXT_SYSCALL);
	global_request_find(CONTEXT_SYSCALL, s->walk.found);
	if (tls) {
		global_frames_near(CONTEXT_SYSCALL, SCOPE_FRAMES);
		global_message_read(CONTEXT_SYSCALL);
		message->asgi = (__u16)s->walk.value;
		if (s->walk.value == ASGI_START)
			message->status = (__u16)s->walk.found;
		else if (s->walk.value == ASGI_BODY)
			message->more_body = (__u32)s->walk.found;
	}
	if (s->request.scope_type != SCOPE_HTTP && s->request.scope_type != SCOPE_WEBSOCKET) {
		global_frames_near(CONTEXT_SYSCALL, SCOPE_FRAMES);
		if (s->walk.scope)
			global_scope_read(CONTEXT_SYSCALL, s->walk.scope);
	}
	count_faults(s);
	return true;
}

static __always_inline void message_send(struct scratch *s, struct connection *connection,
					 struct sock *sk, int direction, struct loop_slot *slot,
					 __u32 process, __u64 tstate, bool response)
{
	struct event_message *message = scratch_record(s, event_message);
	__u64 id = bpf_get_current_pid_tgid();

	record_begin(message, __builtin_offsetof(struct event_message, stack.frames),
		     EVENT_MESSAGE, s->io.now, id >> 32, (__u32)id);
	io_fill(s, &message->io, connection, sk, direction, slot);
	bpf_probe_read_kernel(message->head, LS_HEAD_BYTES, s->payload);
	if (connection->family == FD_UNIX)
		unix_peer_name(message->unix_path, sk);
	if (!slot && !response) {
		global_thread_tstate(CONTEXT_SYSCALL, process, (__u32)id);
		tstate = s->walk.tstate;
	}
	if (response ? !request_only(s, message, slot, connection->flags & IO_TLS)
		     : !record_python(s, CONTEXT_SYSCALL, process, slot, tstate))
		return;
	if (!message->request.task)
		message->header.flags |= EVENT_F_NO_TASK;
	record_send_stack(message, false);
}

static __always_inline void transfer_send(struct scratch *s, struct connection *connection,
					  struct sock *sk, int direction, struct loop_slot *slot)
{
	struct event_transfer *transfer = &s->transfer;
	__u64 id = bpf_get_current_pid_tgid();
	__u32 size = s->io.head_bytes;

	record_begin(transfer, __builtin_offsetof(struct event_transfer, head), EVENT_TRANSFER,
		     s->io.now, id >> 32, (__u32)id);
	io_fill(s, &transfer->io, connection, sk, direction, slot);
	size = (size + 7) & ~7u;
	if (size > LS_HEAD_BYTES)
		size = LS_HEAD_BYTES;
	if (size)
		bpf_probe_read_kernel(transfer->head, size, s->payload);
	size += __builtin_offsetof(struct event_transfer, head);
	transfer->header.size = size;
	emit(transfer, size, false);
}

/* A socket of the kind that requests and their answers go through. */
static __always_inline void served_io(struct scratch *s, struct connection *connection,
				      struct sock *sk, int direction, struct loop_slot *slot)
{
	global_payload_read(CONTEXT_SYSCALL, LS_HEAD_BYTES);
	if (is_tls(s))
		connection->flags |= IO_TLS;
	if (direction == IO_RECEIVE) {
		transfer_send(s, connection, sk, direction, slot);
		return;
	}
	if (slot && (begins_response(s) || connection->flags & IO_TLS)) {
		message_send(s, connection, sk, direction, slot, slot->process, slot->tstate,
			     true);
		return;
	}
	if (s->io.head_bytes > CHUNK_HEAD_BYTES)
		s->io.head_bytes = CHUNK_HEAD_BYTES;
	transfer_send(s, connection, sk, direction, slot);
}

/* A connection to a peer: what begins a call is recorded with its call site. */
static __always_inline void client_io(struct scratch *s, struct connection *connection,
				      struct sock *sk, int direction, struct loop_slot *slot,
				      __u32 process, __u64 tstate)
{
	__u64 step = slot ? slot->seq : (__u32)bpf_get_current_pid_tgid();
	bool continued;

	if (direction == IO_RECEIVE) {
		global_payload_read(CONTEXT_SYSCALL, RECEIVED_HEAD_BYTES);
		connection->sent_ns = 0;
		transfer_send(s, connection, sk, direction, slot);
		return;
	}
	s->io.head_bytes = 0;
	if (direction == IO_SEND)
		global_payload_read(CONTEXT_SYSCALL, LS_HEAD_BYTES);
	continued = connection->sent_ns && connection->sent_step == step &&
		    s->io.now - connection->sent_ns < CONTINUED_NS;
	if (direction == IO_SEND) {
		connection->sent_ns = s->io.now;
		connection->sent_step = step;
	}
	if (continued)
		transfer_send(s, connection, sk, direction, slot);
	else
		message_send(s, connection, sk, direction, slot, process, tstate, false);
}

/* The call whose registers are in the scratch slot has ended; see sys_exit. */
__noinline int global_socket_io(__u32 context, __u32 process, __u64 tstate)
{
	struct scratch *s = scratch_of(context);
	struct connection *connection;
	struct loop_slot *slot;
	struct sock *sk = NULL;
	struct file *file;
	int direction;

	if (!s)
		return 0;
	direction = direction_of(s->io.number);
	file = file_of((int)s->io.args[0]);
	if (!file)
		return 0;
	connection = connection_of(s, file, &sk);
	if (!connection || connection->role == ROLE_OTHER)
		return 0;
	slot = loop_of(s->io.loop);
	connection->tgid = bpf_get_current_pid_tgid() >> 32;
	connection->process = process;
	connection->loop = s->io.loop;
	if (connection->role == ROLE_SERVER)
		served_io(s, connection, sk, direction, slot);
	else
		client_io(s, connection, sk, direction, slot, process, tstate);
	return 0;
}
