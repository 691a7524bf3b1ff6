// SPDX-License-Identifier: Apache-2.0
#include "resolve/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/vec.h"

#define MAX_ROLES 4096

/* What the walk of the probes asks its surroundings for. */
static __thread const struct mem *walk_mem;
static __thread const struct role_table *walk_roles;

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define ls_read_user(to, size, address) mem_read(walk_mem, (address), (to), (size))

/* From outside each walk is its own. */
static __u64 *ls_key_memo(const void *s, __u32 i)
{
	(void)s;
	(void)i;
	return NULL;
}

static const struct code_role *ls_code_role(const struct process_config *config, __u64 code)
{
	(void)config;
	for (size_t i = 0; i < walk_roles->count; i++)
		if (walk_roles->items[i].code == code)
			return &walk_roles->items[i].role;
	return NULL;
}

#include "py_frames.bpf.h"

int role_table_set(struct role_table *table, uint64_t code, const struct code_role *role)
{
	int error;

	for (size_t i = 0; i < table->count; i++) {
		if (table->items[i].code == code) {
			table->items[i].role = *role;
			return 0;
		}
	}
	error = vec_grow(table, MAX_ROLES);
	if (error)
		return error;
	table->items[table->count++] = (struct role_entry){ code, *role };
	return 0;
}

void role_table_free(struct role_table *table)
{
	free(table->items);
	*table = (struct role_table){ 0 };
}

int walk_thread(const struct mem *mem, const struct process_config *config,
		const struct role_table *roles, uint64_t tstate, uint64_t loop,
		struct walk_result *ret_result)
{
	struct scratch *s = calloc(1, sizeof(*s));
	uint64_t task = 0;

	if (!s)
		return -ENOMEM;
	walk_mem = mem;
	walk_roles = roles;
	s->walk.tstate = tstate;
	s->walk.loop = loop;
	frames_walk(s, config);
	if (loop) {
		current_task_of(s, config);
		task = s->walk.found;
	}
	request_find(s, config, task);
	ret_result->request = s->request;
	ret_result->stack = s->stack;
	free(s);
	return 0;
}
