// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The network's side of connections: opened, bytes arrived, closed.  Runs for
 * every TCP segment of the host, so what is of no interest leaves at once.
 */
#include "connections.bpf.h"

/* A connection that somebody opened to an observed process; NULL: to another one. */
static __always_inline struct connection *served(struct sock *sk, __u64 opened_ns)
{
	/* what a tracepoint is given can be read without a helper */
	struct listener *listener = listener_of(sk->__sk_common.skc_net.net->ns.inum,
						sk->__sk_common.skc_num);
	struct connection fresh = { .role = ROLE_SERVER, .opened_ns = opened_ns };
	__u64 key = (__u64)sk;

	if (!listener || !connection_address(&fresh, sk))
		return NULL;
	fresh.loop = listener->loop;
	fresh.id = connection_number(bpf_ktime_get_ns());
	fresh.flags = opened_ns ? IO_SEEN_OPENING : 0;
	return connection_insert(key, &fresh);
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(tcp_segment, struct sock *sk, struct sk_buff *skb)
{
	struct connection *connection;
	__u64 key = (__u64)sk;
	__u32 bytes, seq, header;
	__u8 tcp[16];

	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection)
		connection = served(sk, 0);
	if (!connection)
		return 0;
	if (bpf_probe_read_kernel(tcp, sizeof(tcp), skb->head + skb->transport_header))
		return 0;
	header = (tcp[12] >> 4) * 4;
	bytes = skb->len;
	if (bytes <= header)
		return 0;
	seq = (__u32)tcp[4] << 24 | (__u32)tcp[5] << 16 | (__u32)tcp[6] << 8 | tcp[7];
	arrival_push(connection, seq + bytes - header, bpf_ktime_get_ns());
	return 0;
}

static __always_inline void closed(struct connection *connection, bool failed, bool given_up)
{
	struct event_closed event = {};

	event.header.size = sizeof(event);
	event.header.kind = EVENT_CLOSED;
	event.header.time_ns = bpf_ktime_get_ns();
	event.header.tgid = connection->tgid;
	event.connection = connection->id;
	event.role = connection->role;
	event.failed = failed;
	event.given_up = given_up;
	emit(&event, sizeof(event), false);
}

#define SHUTDOWN_MASK 3	/* include/net/sock.h: neither direction is used any more */

/*
 * The target closes a connection that its peer has not closed, and leaves nothing unread.
 * That is told at once: the peer, or its machine, may not even answer the end.
 */
static __always_inline bool gives_up(const struct connection *connection, struct sock *sk,
				     int from, int to)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;

	return connection->role == ROLE_CLIENT && from == TCP_ESTABLISHED &&
	       (to == TCP_FIN_WAIT1 || to == TCP_CLOSE) &&
	       (BPF_CORE_READ(sk, sk_shutdown) & SHUTDOWN_MASK) == SHUTDOWN_MASK &&
	       BPF_CORE_READ(tcp, rcv_nxt) == BPF_CORE_READ(tcp, copied_seq);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int from, int to)
{
	struct connection *connection;
	__u64 key = (__u64)sk;
	bool given_up;

	if (to == TCP_ESTABLISHED && from == TCP_SYN_RECV) {
		bpf_map_delete_elem(&connections, &key); /* whoever had this address */
		served(sk, bpf_ktime_get_ns());
		return 0;
	}
	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection)
		return 0;
	if (to == TCP_ESTABLISHED)
		connection->opened_ns = bpf_ktime_get_ns();
	given_up = gives_up(connection, sk, from, to);
	if (to != TCP_CLOSE && !given_up)
		return 0;
	if (connection->tgid && connection->role != ROLE_OTHER)
		closed(connection, from == TCP_SYN_SENT, given_up);
	bpf_map_delete_elem(&connections, &key);
	return 0;
}
