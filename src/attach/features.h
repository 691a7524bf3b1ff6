/* SPDX-License-Identifier: Apache-2.0 */
/* What the probes ask of a kernel and its privileges, told by presence, never by version. */
#ifndef LS_FEATURES_H
#define LS_FEATURES_H

#include <stdbool.h>
#include <stddef.h>

#define FEATURE_DETAIL 160

struct feature {
	const char *name;
	bool privilege;		/* of the caller, not of the kernel */
	bool required;
	const char *since;	/* commit or version that brought it */
	const char *without;	/* what is lost without it */
	const char *way_out;
	/* 0 when it is there, else -errno; `detail` ("" before) may say more */
	int (*probe)(const struct feature *feature, char *detail);
	const char *subject;	/* what the probe looks for */
};

extern const struct feature features[];
extern const size_t feature_count;

/*
 * 0 when it is there, else -errno and what to do about it; `detail` has room for
 * FEATURE_DETAIL bytes.
 */
int feature_probe(const struct feature *feature, char *detail, const char **ret_way_out);

/* Frees what the probes keep between them. */
void features_release(void);

#endif
