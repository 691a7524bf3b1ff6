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

#define CONTINUED_NS 5000000ull	/* sends this close together are one message */
#define RECEIVED_HEAD_BYTES 64	/* of a peer's reply */
#define NAME_PORT 53		/* replies that are looked into further */
#define MMSGHDR_BYTES 64	/* struct mmsghdr */
#define CHUNK_HEAD_BYTES 24	/* of a further part of a response */
#define SCOPE_FRAMES 12		/* a response is written this close to its scope at most */
#define LOG_FRAMES 24		/* and logged, through `logging` and what formats the line */

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

/* include/uapi/linux/in.h, in6.h: the beginning of both, and where the address is */
struct user_address {
	__u16 family, port;
	__u8 rest[12];
};

/* The kernel forgets where a connection was to go once that failed: it was an argument. */
static __always_inline void address_asked(struct connection *to, __u64 argument)
{
	struct user_address asked = {};

	if (bpf_probe_read_user(&asked, 16, (const void *)argument))
		return;
	if (to->family == FD_INET && asked.family == AF_INET) {
		__builtin_memcpy(to->address, asked.rest, 4);
	} else if (to->family == FD_INET6 && asked.family == AF_INET6) {
		bpf_probe_read_user(to->address, 16, (const void *)(argument + 8));
	} else {
		return;
	}
	to->peer_port = __builtin_bswap16(asked.port);
}

/*
 * Describes a socket that is not in the map.  TCP is remembered; others have no
 * state that tells of their end, so they are looked at anew each time.
 */
static __always_inline struct connection *connection_new(struct scratch *s, struct sock *sk)
{
	struct connection *fresh = &s->connection, *connection;
	__u16 type = BPF_CORE_READ(sk, sk_type);
	__u64 key = (__u64)sk;
	__u8 state;

	__builtin_memset(fresh, 0, sizeof(*fresh));
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
	if (!fresh->peer_port && s->io.number == NR_CONNECT)
		address_asked(fresh, s->io.args[1]);
	if (type == SOCK_DGRAM) {
		fresh->id = (key ^ (__u64)fresh->peer_port << 48) | 1;
		fresh->flags = IO_DATAGRAM;
		fresh->role = fresh->peer_port ? ROLE_CLIENT : ROLE_OTHER;
		return fresh;
	}
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	/* one that is closed is forgotten: the next one may have its address */
	if (state == TCP_LISTEN || (state == TCP_CLOSE && s->io.number != NR_CONNECT))
		return fresh;
	fresh->role = listener_of(BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum),
				  BPF_CORE_READ(sk, __sk_common.skc_num))
			      ? ROLE_SERVER
			      : ROLE_CLIENT;
	if (s->io.number == NR_CONNECT)
		fresh->flags = IO_SEEN_OPENING;
	if (s->io.number == NR_CONNECT && !s->io.result)
		fresh->opened_ns = s->io.now;
	if (s->io.number != NR_CONNECT)
		return connection_insert(key, fresh);
	bpf_map_delete_elem(&connections, &key); /* nobody said that an earlier one had ended */
	if (s->io.result && s->io.result != -EINPROGRESS)
		return fresh; /* it has no future */
	connection = connection_insert(key, fresh);
	if (s->io.result && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE) {
		/* refused before it was known here */
		bpf_map_delete_elem(&connections, &key);
		s->io.result = -ECONNREFUSED;
		return fresh;
	}
	return connection;
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
	if (connection && (s->io.number != NR_CONNECT || s->io.result == -EALREADY ||
			   s->io.result == -EISCONN))
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
	const __u8 *head = s->transfer.head;

	return s->io.head_bytes >= 12 && *(const __u32 *)head == 0x50545448 /* HTTP */ &&
	       head[4] == '/' && head[5] == '1';
}

/* RFC 8446, 5.1: handshake and application data, of all versions. */
static __always_inline bool is_tls(const struct scratch *s)
{
	const __u8 *head = s->transfer.head;

	return s->io.head_bytes >= 3 && (head[0] == 0x16 || head[0] == 0x17) &&
	       head[1] == 0x03 && head[2] <= 0x04;
}

/* The request that the calling loop thread works for, without a stack. */
static __always_inline bool request_only(struct scratch *s, struct event_response *response,
					 const struct loop_slot *slot, bool tls)
{
	if (!same_process(slot->process))
		return false;
	walk_begin(s, CONTEXT_SYSCALL, slot->process, slot, slot->tstate);
	s->walk.response = 1;
	s->walk.scope = 0;
	s->walk.host = 0;
	s->stack.count = 0;
	s->stack.end = STACK_NONE;
	global_current_task(CONTEXT_SYSCALL);
	global_request_find(CONTEXT_SYSCALL, s->walk.found);
	if (tls) {
		global_frames_near(CONTEXT_SYSCALL, SCOPE_FRAMES);
		global_message_read(CONTEXT_SYSCALL);
		response->asgi = (__u16)s->walk.value;
		if (s->walk.value == ASGI_START)
			response->status = (__u16)s->walk.found;
		else if (s->walk.value == ASGI_BODY)
			response->more_body = (__u32)s->walk.found;
	}
	if (s->request.scope_type != SCOPE_HTTP && s->request.scope_type != SCOPE_WEBSOCKET) {
		global_frames_near(CONTEXT_SYSCALL, SCOPE_FRAMES);
		if (s->walk.scope)
			global_scope_read(CONTEXT_SYSCALL);
	}
	count_faults(s);
	return true;
}

/* The connection at hand, in a function of its own: the verifier looks into it but once. */
static __always_inline struct connection *connection_again(struct scratch *s)
{
	__u64 key = s->io.socket;
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);

	return connection ? connection : &s->connection;
}

/* Bytes of head[] that are sent: whole words of what was kept. */
static __always_inline __u64 head_size(const struct scratch *s)
{
	__u64 size = ((__u64)s->io.head_bytes + 7) & ~7ull;

	asm volatile("" : "+r"(size)); /* clang 19 would compare what it was made of */
	return size < LS_HEAD_BYTES ? size : LS_HEAD_BYTES;
}

/* Records what begins a response, with its request. */
__noinline int global_response_send(__u32 context)
{
	struct scratch *s = scratch_of(context);
	__u64 id = bpf_get_current_pid_tgid();
	struct event_response *response;
	struct connection *connection;
	struct loop_slot *slot;
	__u32 size;

	if (!s)
		return 0;
	slot = loop_of(s->io.loop);
	if (!slot)
		return 0;
	connection = connection_again(s);
	response = scratch_record(s, event_response);
	record_begin(response, __builtin_offsetof(struct event_response, head), EVENT_RESPONSE,
		     s->io.now, id >> 32, (__u32)id);
	io_fill(s, &response->io, connection, (struct sock *)s->io.socket, IO_SEND, slot);
	if (!request_only(s, response, slot, connection->flags & IO_TLS))
		return 0;
	if (!response->request.task)
		response->header.flags |= EVENT_F_NO_TASK;
	size = head_size(s);
	if (size)
		bpf_probe_read_kernel(response->head, size, payload_of(s));
	size += __builtin_offsetof(struct event_response, head);
	response->header.size = size;
	emit(response, size, false);
	return 0;
}

/* Records what begins a call to a peer, with the request and the stack that it is sent for. */
__noinline int global_message_send(__u32 context, __u64 tstate)
{
	struct scratch *s = scratch_of(context);
	__u64 id = bpf_get_current_pid_tgid();
	struct connection *connection;
	struct event_message *message;
	struct loop_slot *slot;
	__u32 process;

	if (!s)
		return 0;
	slot = loop_of(s->io.loop);
	connection = connection_again(s);
	process = connection->process;
	message = scratch_record(s, event_message);
	record_begin(message, __builtin_offsetof(struct event_message, head), EVENT_MESSAGE,
		     s->io.now, id >> 32, (__u32)id);
	__builtin_memset(message->unix_path, 0,
			 __builtin_offsetof(struct event_message, stack.frames) -
				 __builtin_offsetof(struct event_message, unix_path));
	io_fill(s, &message->io, connection, (struct sock *)s->io.socket,
		direction_of(s->io.number), slot);
	bpf_probe_read_kernel(message->head, LS_HEAD_BYTES, payload_of(s));
	if (connection->family == FD_UNIX)
		unix_peer_name(message->unix_path, (struct sock *)s->io.socket);
	if (!slot) {
		global_thread_tstate(CONTEXT_SYSCALL, process, (__u32)id);
		tstate = s->walk.tstate;
	}
	if (!record_python(s, CONTEXT_SYSCALL, process, slot, tstate))
		return 0;
	if (!message->request.task)
		message->header.flags |= EVENT_F_NO_TASK;
	record_send_stack(message, false);
	return 0;
}

/* A resolver asks for both kinds of addresses in one call: its second message. */
__noinline int global_second_send(__u32 context)
{
	struct scratch *s = scratch_of(context);

	if (!s || s->io.messages < 2)
		return 0;
	s->io.args[1] += MMSGHDR_BYTES;
	global_payload_read(context, LS_HEAD_BYTES);
	return global_transfer_send(context);
}

/* Records a transfer that begins nothing. */
__noinline int global_transfer_send(__u32 context)
{
	struct scratch *s = scratch_of(context);
	__u64 id = bpf_get_current_pid_tgid();
	struct event_transfer *transfer;
	__u32 size;
	bool wake;

	if (!s)
		return 0;
	transfer = &s->transfer;
	record_begin(transfer, __builtin_offsetof(struct event_transfer, head), EVENT_TRANSFER,
		     s->io.now, id >> 32, (__u32)id);
	io_fill(s, &transfer->io, connection_again(s), (struct sock *)s->io.socket,
		direction_of(s->io.number), loop_of(s->io.loop));
	size = head_size(s) + __builtin_offsetof(struct event_transfer, head);
	transfer->header.size = size;
	wake = drowsy && transfer->io.role == ROLE_SERVER;
	if (wake)
		drowsy = 0;
	emit(transfer, size, wake);
	return 0;
}

/* Does the loop write where only the log of its server says what it answers? */
static __always_inline bool writes_late(const struct loop_slot *slot)
{
	struct process_config *config = slot ? process_of_slot(slot->process) : NULL;

	return config && config->late_writes;
}

static __always_inline bool serves_tls(const struct loop_slot *slot)
{
	struct process_runtime *runtime = bpf_map_lookup_elem(&process_runtimes, &slot->process);

	return runtime && runtime->tls;
}

/* What is seen first on a connection that is served are TLS records. */
static __always_inline void tls_seen(struct connection *connection, const struct loop_slot *slot)
{
	struct process_runtime *runtime = bpf_map_lookup_elem(&process_runtimes,
							      &connection->process);

	connection->flags |= IO_TLS | (writes_late(slot) ? IO_LATE : 0);
	if (runtime)
		runtime->tls = 1;
}

/*
 * A loop that writes late has written to what is no connection: when it is below
 * the frame that sends a response, that is its line in the log.
 */
__noinline int global_logged_send(__u32 context)
{
	struct scratch *s = scratch_of(context);
	struct loop_slot *slot = s ? loop_of(s->io.loop) : NULL;
	__u64 id = bpf_get_current_pid_tgid();
	struct event_response *response;
	__u32 status;

	if (!slot || !same_process(slot->process))
		return 0;
	walk_begin(s, CONTEXT_SYSCALL, slot->process, slot, slot->tstate);
	global_frames_near(CONTEXT_SYSCALL, LOG_FRAMES);
	if (!s->walk.scope || !s->walk.subject)
		return 0;
	global_message_read(CONTEXT_SYSCALL);
	if (s->walk.value != ASGI_START)
		return 0;
	status = (__u32)s->walk.found;
	response = scratch_record(s, event_response);
	record_begin(response, __builtin_offsetof(struct event_response, head), EVENT_RESPONSE,
		     s->io.now, id >> 32, (__u32)id);
	response->io.direction = IO_LOGGED;
	response->io.role = ROLE_SERVER;
	response->io.process = slot->process;
	response->io.loop = s->io.loop;
	response->io.step_seq = slot->seq;
	response->asgi = ASGI_START;
	response->status = (__u16)status;
	global_current_task(CONTEXT_SYSCALL);
	global_request_find(CONTEXT_SYSCALL, s->walk.found);
	count_faults(s);
	response->header.size = __builtin_offsetof(struct event_response, head);
	emit(response, response->header.size, false);
	return 0;
}

/* A socket of the kind that requests and their answers go through; IO_RECORD_*. */
static __always_inline int served_io(struct scratch *s, struct connection *connection,
				     int direction, const struct loop_slot *slot)
{
	global_payload_read(CONTEXT_SYSCALL, LS_HEAD_BYTES);
	if (is_tls(s))
		tls_seen(connection, slot);
	if (direction == IO_RECEIVE)
		return IO_RECORD_TRANSFER;
	if (slot && (begins_response(s) || connection->flags & IO_TLS))
		return IO_RECORD_RESPONSE;
	if (s->io.head_bytes > CHUNK_HEAD_BYTES)
		s->io.head_bytes = CHUNK_HEAD_BYTES;
	return IO_RECORD_TRANSFER;
}

/* A connection to a peer: what begins a call is recorded with its call site; IO_RECORD_*. */
static __always_inline int client_io(struct scratch *s, struct connection *connection,
				     int direction, const struct loop_slot *slot)
{
	__u64 step = slot ? slot->seq : (__u32)bpf_get_current_pid_tgid();
	bool continued;

	if (direction == IO_RECEIVE) {
		global_payload_read(CONTEXT_SYSCALL,
				    connection->flags & IO_DATAGRAM &&
						    connection->peer_port == NAME_PORT
					    ? LS_HEAD_BYTES : RECEIVED_HEAD_BYTES);
		connection->sent_ns = 0;
		return IO_RECORD_TRANSFER;
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
	return continued ? IO_RECORD_TRANSFER : IO_RECORD_CALL;
}

/*
 * The call whose registers are in the scratch slot has ended: what is it worth?
 * IO_RECORD_*, which the caller has to see to: functions do not go deeper than 8.
 */
__noinline int global_socket_io(__u32 context, __u32 process)
{
	struct scratch *s = scratch_of(context);
	struct connection *connection;
	struct loop_slot *slot;
	struct sock *sk = NULL;
	struct file *file;
	int direction;

	if (!s)
		return IO_RECORD_NONE;
	direction = direction_of(s->io.number);
	file = file_of((int)s->io.args[0]);
	if (!file)
		return IO_RECORD_NONE;
	connection = connection_of(s, file, &sk);
	slot = loop_of(s->io.loop);
	if (!connection || connection->role == ROLE_OTHER)
		return s->io.number == NR_WRITE && writes_late(slot) && serves_tls(slot)
			       ? IO_RECORD_LOGGED : IO_RECORD_NONE;
	s->io.socket = (__u64)sk;
	connection->tgid = bpf_get_current_pid_tgid() >> 32;
	connection->process = process;
	connection->loop = s->io.loop;
	return connection->role == ROLE_SERVER ? served_io(s, connection, direction, slot)
					       : client_io(s, connection, direction, slot);
}
