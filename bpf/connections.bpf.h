/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sockets of observed processes, and when bytes arrived in them. */
#ifndef LS_CONNECTIONS_BPF_H
#define LS_CONNECTIONS_BPF_H

#include "loop_clock.bpf.h"
#include "record.bpf.h"

/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_CLOSE 7
#define TCP_LISTEN 10

/* The listener of a port, NULL: no observed process listens there. */
static __always_inline struct listener *listener_of(__u32 net, __u16 port)
{
	__u32 known = listener_count;

	for (__u32 i = 0; i < LS_MAX_LISTENERS; i++) {
		if (i >= known)
			break;
		if (listeners[i].port == port && listeners[i].net == net)
			return &listeners[i];
	}
	return NULL;
}

/* Number of a connection: two never share one within an attach. */
static __always_inline __u64 connection_number(__u64 now)
{
	return now << 8 | (bpf_get_smp_processor_id() & 0xff);
}

/* Fills peer, ports and family of a TCP or UDP socket; false: another kind. */
static __always_inline bool connection_address(struct connection *to, struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (family == AF_INET) {
		__u32 address = BPF_CORE_READ(sk, __sk_common.skc_daddr);

		to->family = FD_INET;
		__builtin_memcpy(to->address, &address, 4);
	} else if (family == AF_INET6) {
		to->family = FD_INET6;
		bpf_core_read(to->address, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		return false;
	}
	to->peer_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	to->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	return true;
}

static __always_inline struct connection *connection_insert(__u64 sk,
							    const struct connection *fresh)
{
	if (bpf_map_update_elem(&connections, &sk, fresh, BPF_NOEXIST))
		count(COUNTER_connections_full);
	return bpf_map_lookup_elem(&connections, &sk);
}

/* Bytes up to `end_seq` reached the socket now. */
static __always_inline void arrival_push(struct connection *connection, __u32 end_seq, __u64 now)
{
	__u32 head = connection->head, at = head;
	struct loop_slot *slot = loop_of(connection->loop);
	struct arrival *last = &connection->arrivals[(head - 1) % ARRIVALS];

	if (head != connection->tail && (__s32)(end_seq - last->end_seq) <= 0)
		return; /* again */
	if (head - connection->tail >= ARRIVALS) {
		last->end_seq = end_seq; /* the first ones keep their time */
		last->time_ns = now;
		return;
	}
	connection->arrivals[at % ARRIVALS].time_ns = now;
	connection->arrivals[at % ARRIVALS].busy_ns = slot ? loop_clock(slot, now) : 0;
	connection->arrivals[at % ARRIVALS].end_seq = end_seq;
	connection->head = head + 1;
}

/* When the bytes before `copied_seq` arrived, `bytes` of them; forgets what was read. */
static __always_inline void arrival_take(struct connection *connection, __u32 copied_seq,
					 __u32 bytes, struct io_record *io)
{
	__u32 from = copied_seq - bytes;

	for (__u32 i = 0; i < ARRIVALS; i++) {
		const struct arrival *next = &connection->arrivals[connection->tail % ARRIVALS];

		if (connection->tail == connection->head)
			break;
		if ((__s32)(next->end_seq - from) > 0) {
			if (!io->arrived_ns) {
				io->arrived_ns = next->time_ns;
				io->arrived_busy_ns = next->busy_ns;
			}
			io->arrived_last_ns = next->time_ns;
		}
		if ((__s32)(next->end_seq - copied_seq) > 0)
			break; /* part of it is still to be read */
		connection->tail++;
	}
}

#endif
