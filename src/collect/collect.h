/* SPDX-License-Identifier: Apache-2.0 */
/* Records out of the ring buffer, checked; and the slots as summaries. */
#ifndef LS_COLLECT_H
#define LS_COLLECT_H

#include <stddef.h>
#include <stdint.h>

#include "events.h"

struct collector;	/* opaque */

/* Called for each record that is whole; it is valid during the call only. */
typedef void (*collect_handler)(void *context, const struct event_header *event);

/* `ring_fd` is borrowed.  0 or -errno. */
int collector_new(int ring_fd, collect_handler handler, void *context,
		  struct collector **ret_collector);
void collector_free(struct collector *collector);

/* Waits at most `timeout_ms` for records, then handles all there are. Returns how many. */
int collector_poll(struct collector *collector, int timeout_ms);

/* Handles all there are, without waiting. */
int collector_drain(struct collector *collector);

/* Records taken from the ring; of them, malformed ones (never handed on). */
uint64_t collector_received(const struct collector *collector);
uint64_t collector_malformed(const struct collector *collector);

/* True when a record is as long as it says and as its kind demands. */
int event_check(const void *data, size_t size);

/* Printable name of an event kind, "?" for unknown ones. */
const char *event_kind_name(unsigned kind);

/* Upper bound in ns of bucket `bucket` of step_bucket(). */
uint64_t step_bucket_ns(unsigned bucket);

#endif
