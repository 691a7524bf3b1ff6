/* SPDX-License-Identifier: Apache-2.0 */
/* The `Depends` callables of a route, from FastAPI's own objects. */
#ifndef LS_DEPENDANTS_H
#define LS_DEPENDANTS_H

#include <stddef.h>
#include <stdint.h>

struct py_reader;

#define DEPENDANTS_MAX 128	/* different callables of one route */

struct dependant {
	const char *name;	/* interned "app.deps.get_user" */
	uint64_t code;		/* code object that runs, 0: a C function */
	uint64_t callable;
	unsigned executions;	/* in each request, what FastAPI caches left out */
	/* by index: how often others are executed because of it */
	uint8_t below[DEPENDANTS_MAX];
};

struct dependants {
	struct dependant *items;	/* owned */
	size_t count, capacity;
};

/*
 * Reads what a route, or the context that it was included with, depends on.  0;
 * -ENOENT it is no route of FastAPI; -ENOMEM.
 */
int dependants_read(const struct py_reader *py, uint64_t route, struct dependants *ret_dependants);
void dependants_free(struct dependants *dependants);	/* what it owns */

#endif
