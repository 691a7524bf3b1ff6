// SPDX-License-Identifier: Apache-2.0
#include "collect/collect.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct collector {
	struct ring_buffer *ring;
	collect_handler handler;
	void *context;
	uint64_t received, malformed;
};

/* Smallest record of each kind, and whether it ends in a stack of variable length. */
static const struct {
	uint32_t size, stack;
	const char *name;
} kinds[EVENT_KIND_COUNT] = {
#define X(kind, record, text) [EVENT_##kind] = { sizeof(struct record), 0, text },
	EVENT_KINDS(X)
#undef X
};

static uint32_t stack_offset(unsigned kind)
{
	switch (kind) {
	case EVENT_CALL:
		return offsetof(struct event_call, stack);
	case EVENT_SAMPLE:
	case EVENT_HOLDER:
		return offsetof(struct event_sample, stack);
	case EVENT_PAGE_FAULT:
		return offsetof(struct event_page_fault, stack);
	case EVENT_MESSAGE:
		return offsetof(struct event_message, stack);
	default:
		return 0;
	}
}

/* Only the part of head[], behind `fixed` bytes, that was kept is sent, in units of 8 bytes. */
static bool io_check(const struct io_record *io, size_t fixed, size_t size)
{
	return size >= fixed && io->head_bytes <= LS_HEAD_BYTES &&
	       size == fixed + (io->head_bytes + 7u) / 8 * 8 && io->tail_bytes <= LS_TAIL_BYTES;
}

int event_check(const void *data, size_t size)
{
	const struct event_header *header = data;
	uint32_t at;

	if (size < sizeof(*header) || header->kind == EVENT_NONE ||
	    header->kind >= EVENT_KIND_COUNT || header->size != size)
		return 0;
	if (header->kind == EVENT_TRANSFER)
		return io_check(&((const struct event_transfer *)data)->io,
				offsetof(struct event_transfer, head), size);
	if (header->kind == EVENT_RESPONSE)
		return io_check(&((const struct event_response *)data)->io,
				offsetof(struct event_response, head), size);
	at = stack_offset(header->kind);
	if (at) {
		struct stack_record stack;
		size_t fixed = offsetof(struct stack_record, frames);

		if (size < at + fixed)
			return 0;
		memcpy(&stack, (const char *)data + at, fixed);
		if (header->kind == EVENT_MESSAGE &&
		    (((const struct event_message *)data)->io.head_bytes > LS_HEAD_BYTES ||
		     ((const struct event_message *)data)->io.tail_bytes > LS_TAIL_BYTES))
			return 0;
		return stack.count <= LS_MAX_FRAMES &&
		       size == at + fixed + stack.count * sizeof(struct frame_record);
	}
	return size == kinds[header->kind].size;
}

const char *event_kind_name(unsigned kind)
{
	return kind < EVENT_KIND_COUNT && kinds[kind].name ? kinds[kind].name : "?";
}

static int on_record(void *context, void *data, size_t size)
{
	struct collector *collector = context;

	collector->received++;
	if (event_check(data, size))
		collector->handler(collector->context, data);
	else
		collector->malformed++;
	return 0;
}

int collector_new(int ring_fd, collect_handler handler, void *context,
		  struct collector **ret_collector)
{
	struct collector *collector = calloc(1, sizeof(*collector));
	int error;

	if (!collector)
		return -ENOMEM;
	collector->handler = handler;
	collector->context = context;
	collector->ring = ring_buffer__new(ring_fd, on_record, collector, NULL);
	if (!collector->ring) {
		error = errno ? -errno : -EIO;
		free(collector);
		return error;
	}
	*ret_collector = collector;
	return 0;
}

void collector_free(struct collector *collector)
{
	if (!collector)
		return;
	ring_buffer__free(collector->ring);
	free(collector);
}

/*
 * The probes wake nobody up unless the ring fills, so waiting for the
 * descriptor alone is not enough: what is there is taken in any case.
 */
int collector_poll(struct collector *collector, int timeout_ms)
{
	int woken = ring_buffer__poll(collector->ring, timeout_ms);
	int more = ring_buffer__consume(collector->ring);

	return (woken > 0 ? woken : 0) + (more > 0 ? more : 0);
}

int collector_drain(struct collector *collector)
{
	return ring_buffer__consume(collector->ring);
}

uint64_t collector_received(const struct collector *collector)
{
	return collector->received;
}

uint64_t collector_malformed(const struct collector *collector)
{
	return collector->malformed;
}

uint64_t step_bucket_ns(unsigned bucket)
{
	unsigned octave;

	if (bucket < 4)
		return (bucket + 1ull) << 10;
	octave = (bucket - 4) / 4;
	return ((4ull + (bucket - 4) % 4 + 1) << octave) << 10;
}
