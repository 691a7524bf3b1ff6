/* SPDX-License-Identifier: Apache-2.0 */
/* What the tracker keeps of open connections and requests. */
#ifndef LS_TRACKER_INTERNAL_H
#define LS_TRACKER_INTERNAL_H

#include <uthash.h>

#include "attribute/http.h"
#include "attribute/names.h"
#include "attribute/peer.h"
#include "attribute/shape.h"
#include "attribute/tracker.h"
#include "attribute/waits.h"
#include "base/units.h"
#include "target_config.h"

#define MAX_OPEN 65536		/* requests at once, and connections */
#define MAX_ORPHANS 4096	/* work of requests that no connection is known for yet */
#define ORPHAN_NS (30 * NS_PER_S)	/* of which nothing is seen for so long has ended */
#define MAX_ORIGINS 8192	/* calls to peers at once */
#define MAX_PEERS 256		/* connections that one request uses; then the first ones go */
#define MAX_SITES 256		/* places in one request that call a peer */
#define MAX_CALLABLES 64	/* `Depends` callables and middleware seen in one request */

/* Time at a callable, as far as it was seen. */
struct seen_callable {
	uint64_t code;
	struct place place;
	bool middleware, exact;
	uint64_t total_ns, blamed_ns, place_ns;
};

/* A request that goes on. */
struct open_request {
	uint64_t identity;		/* 0: not known yet */
	uint16_t client_port;		/* of an orphan, 0: not known */
	uint64_t seen_ns;		/* when something of it was last */
	pid_t pid, tid;
	struct route_name route;
	char method[HTTP_METHOD_BYTES], path[LS_PATH_BYTES + 1];	/* from its request line */
	uint16_t path_length;
	unsigned status;
	uint64_t start_ns, first_byte_ns;
	bool arrival_unknown, from_read, websocket, body_done, started;
	bool upgrade;			/* asks for a websocket */
	uint64_t last_receive_ns, last_send_ns;
	uint64_t stuck_ns;		/* the client does not read since; 0: it does */
	struct {
		uint64_t *items;	/* owned: connections it used, each once */
		size_t count, capacity;
		size_t next;		/* with MAX_PEERS of them the place of the next one */
	} peers;
	uint64_t messages_in, messages_out;
	uint64_t message_ns;		/* one came then, and nothing was sent since; 0: none */
	struct timeline timeline;
	struct site_calls *sites;	/* owned */
	size_t site_count, site_capacity;
	/* what snapshots saw since its code last had the loop */
	struct request_wait wait;
	uint64_t wait_start_ns, wait_seen_ns;	/* 0: nothing */
	/* a callable that a thread was seen to run for it, until that one says that it is done */
	struct {
		uint64_t code;		/* 0: none */
		struct place place;
		uint64_t from_ns, seen_ns;
	} in_thread;
	uint64_t worked_ns;		/* a thread was done with a piece of its work, 0: none */
	uint64_t wait_from_ns;		/* what is seen next may have begun then, 0: not known */
	struct open_pool_wait pool_wait;
	struct thread_waits thread_waits;
	struct {
		struct seen_callable *items;	/* owned */
		size_t count, capacity;
	} callables;
	struct connection *connection;	/* NULL: an orphan */
	struct open_request *next;	/* on its connection, in order of arrival */
	UT_hash_handle hh;		/* by identity */
};

struct connection {
	uint64_t id;
	uint8_t role;			/* ROLE_* */
	pid_t pid;
	struct route_cache *routes;	/* borrowed: of its process */
	/* ROLE_SERVER */
	struct http_request_stream in;
	struct http_response_stream out;
	struct open_request *queue;	/* oldest first */
	uint64_t answered;		/* identity of the last one that is over, 0: not known */
	bool upgraded;			/* to a websocket */
	bool refused;			/* it spoke no HTTP/1.1 */
	uint8_t handshake;		/* of TLS, see served_tls.c */
	bool late;			/* only the server's log tells of its responses */
	/* ROLE_CLIENT */
	struct peer *peer;		/* owned */
	const char *name;		/* interned "host:port" */
	const char *known_as;		/* interned, as it was looked up; NULL: not known */
	uint64_t token;			/* of the last call or opening, 0: none seen */
	UT_hash_handle hh;		/* by id */
	uint64_t client;		/* process and port of the client; ROLE_SERVER */
	bool has_client;
	UT_hash_handle hh_client;	/* by client */
};

/* Where a call to a peer came from; found again by its token. */
struct call_origin {
	uint64_t token;
	uint64_t request;
	struct route_name route;
	struct place culprit, library;
	const char *owner_task, *owner_thread;
	struct place stack[8];
	size_t stack_count;
	const struct stack *sent_at;	/* borrowed; NULL: not known */
	pid_t pid;
};

struct tracker {
	struct tracker_sink sink;
	struct connection *connections;
	struct connection *by_client;	/* those served; the last one of a port */
	struct open_request *requests;	/* those with an identity */
	struct step_log steps;
	struct call_origin origins[MAX_ORIGINS];
	bool no_arrivals;	/* nothing tells when bytes arrive */
	uint64_t last_token;
	size_t orphans;
	uint64_t now_ns;	/* of the latest event */
	uint64_t orphans_ns;	/* when they were last looked at */
	pid_t logging[LS_MAX_PROCESSES];	/* servers whose log was seen; 0: none */
	struct shape_set *shapes;	/* owned: of all peers together */
	struct stack_set *stacks;	/* owned */
	struct name_table *names;	/* owned */
	struct tracker_counts counts;
};

/* A request that nothing is known of yet, of no connection; NULL: out of memory. */
struct open_request *request_new(pid_t pid);

/* The request of an identity, made as an orphan when it is new; NULL: out of memory. */
struct open_request *request_of(struct tracker *tracker, const struct activity *activity);

/* The request on a connection turns out to be that of `activity`: joins what is known of both. */
int request_join(struct tracker *tracker, struct open_request *request,
		 const struct activity *activity);

/* The same for one that no frame told of: an orphan of its client's port. */
int request_adopt(struct tracker *tracker, struct open_request *request, uint16_t client_port);

/* Hands a request on and forgets it. */
void request_end(struct tracker *tracker, struct open_request *request, uint64_t end_ns,
		 bool aborted, bool ongoing);

/* Forgets it without a word. */
void request_drop(struct tracker *tracker, struct open_request *request);

/* Its code has the loop from start on: what snapshots saw before lasted until then. */
int request_ran(struct tracker *tracker, struct open_request *request,
		const struct loop_moment *moment);

/* Time at a callable; `line` NULL: where in it is not known. */
int request_callable(struct open_request *request, uint64_t code, const struct place *line,
		     bool middleware, bool exact, bool blamed, uint64_t ns);

/* The thread that was seen to run a callable for it did so until then, and did not say so. */
int request_thread_left(struct tracker *tracker, struct open_request *request, uint64_t until);

/* A message of a websocket came or went. */
void request_message(struct tracker *tracker, struct open_request *request, bool in,
		     uint64_t now);

void request_site(struct tracker *tracker, struct open_request *request,
		  const struct call_origin *origin, const char *peer,
		  const struct peer_call *call);

/* The connection that was opened from a port; NULL: none. */
struct connection *served_connection(struct tracker *tracker, pid_t pid, uint16_t port);

/* The request that is being answered for `activity`, told by its client's port; NULL: none. */
struct open_request *served_request_of(struct tracker *tracker, const struct activity *activity);
void served_opened(struct tracker *tracker, struct connection *connection, uint16_t port);

/* A transfer on a connection that the target serves. */
int served_event(struct tracker *tracker, struct route_cache *routes,
		 struct connection *connection, const struct event_header *event,
		 const struct io_record *io, const uint8_t *head,
		 const struct activity *activity);
void served_closed(struct tracker *tracker, struct connection *connection, uint64_t now);

/* Parts of the above that TLS connections need as well. */
struct served_io {
	struct tracker *tracker;
	struct route_cache *routes;
	struct connection *connection;
	const struct event_header *event;
	const struct io_record *io;
	const struct activity *activity;	/* NULL: none */
	int error;
};

struct open_request *served_newest(const struct connection *connection);
struct open_request *served_begin(const struct served_io *it, uint64_t offset);
void served_more(struct open_request *request, const struct io_record *io);
int served_ran(const struct served_io *it, struct open_request *request);
void served_answer(struct served_io *it, unsigned status);
void served_over(const struct served_io *it, uint64_t now);
void served_by_path(struct route_cache *routes, struct open_request *request);

/* Below TLS: what was sent so far may be all of its response. */
bool tls_answered(const struct open_request *request);

/* The same as served_event() where only the frames know what is sent. */
int tls_event(struct served_io *it, const uint8_t *head);

/* The server's log says what it sends next to a client. */
int tls_logged(struct tracker *tracker, const struct event_response *response,
	       const struct activity *activity);

/* It began a handshake that it never went on with. */
bool tls_given_up(const struct connection *connection);

/* Nothing tells of responses on this connection: was `request` answered?  Nobody knows. */
bool tls_untold(const struct tracker *tracker, const struct open_request *request);

/* The same at the end of the window: it is over as far as anything tells. */
bool tls_settled(const struct open_request *request);

/* A transfer on a connection to a peer. */
int peer_event(struct tracker *tracker, struct connection *connection,
	       const struct event_header *event, const struct io_record *io,
	       const uint8_t *head, const struct activity *activity);
/* It could not be opened. */
void peer_refused(struct tracker *tracker, struct connection *connection, uint64_t now);
void peer_gone(struct tracker *tracker, struct connection *connection, uint64_t now,
	       enum peer_end how);

/*
 * Of a request that is over: its calls whose end cannot be told otherwise are over as well,
 * and nobody waits any longer for those without an answer.
 */
void peers_settle(struct tracker *tracker, struct open_request *request, uint64_t now);
void peer_lost(struct tracker *tracker, struct connection *connection);
void peer_still_open(struct tracker *tracker, struct connection *connection, uint64_t now);

#endif
