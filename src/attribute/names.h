/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that processes look up: what they ask name servers, and which addresses the
 * answers give.  A name is told only where it is the only one that it can be.
 */
#ifndef LS_NAMES_H
#define LS_NAMES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NAME_BYTES 254		/* RFC 1035, 2.3.4, as text */
#define NAME_ADDRESSES 16	/* of one answer; more are not looked at */
#define NAME_PORT 53

/* RFC 1035, 3.2.2; RFC 3596 */
enum {
	NAME_TYPE_A = 1,
	NAME_TYPE_CNAME = 5,
	NAME_TYPE_AAAA = 28,
};

struct name_address {
	uint8_t bytes[16];	/* network order; of IPv4 as ::ffff:a.b.c.d */
};

/* A query, or an answer; a lower-case name. */
struct name_message {
	uint16_t id, type;	/* NAME_TYPE_* */
	char name[NAME_BYTES];	/* that is asked for */
	struct name_address addresses[NAME_ADDRESSES];
	size_t count;
};

/*
 * Of a message whose first `size` bytes are seen.  -EBADMSG: not what it claims to
 * be, or no query (answer) for addresses of a host.
 */
int name_query_parse(const uint8_t *bytes, size_t size, struct name_message *ret_message);
int name_answer_parse(const uint8_t *bytes, size_t size, struct name_message *ret_message);

struct name_table;

/* NULL: out of memory. */
struct name_table *name_table_new(void);
void name_table_free(struct name_table *table);	/* NULL is legal */

/* A datagram to or from a name server on socket `connection`; answers to nothing are ignored. */
void names_asked(struct name_table *table, uint64_t connection, const uint8_t *bytes, size_t size);
void names_answered(struct name_table *table, pid_t pid, uint64_t connection,
		    const uint8_t *bytes, size_t size, uint64_t now_ns);

/* Datagrams were lost: what is known may not be all. */
void names_gap(struct name_table *table);

/*
 * The name by which a process that connects now knows an address, interned; NULL: none
 * is known, or there was another one for it not long before.
 */
const char *names_of(struct name_table *table, pid_t pid, const struct name_address *address,
		     uint64_t now_ns);

/* Names that there was no room for. */
uint64_t names_dropped(const struct name_table *table);

#endif
