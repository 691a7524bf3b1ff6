/* SPDX-License-Identifier: Apache-2.0 */
/* Pools in the report for people. */
#ifndef LS_TEXT_POOLS_H
#define LS_TEXT_POOLS_H

#include <stddef.h>

struct finding;
struct page;
struct report;

/* The pool of a finding, and who holds it; nothing for one that is about none. */
void text_finding_pool(struct page *page, const struct finding *finding);

/* A line for each pool that was waited for, at most `limit` of them. */
void text_pools(struct page *page, const struct report *report, size_t limit);

#endif
