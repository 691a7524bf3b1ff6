/* SPDX-License-Identifier: Apache-2.0 */
/* One finding in the text report. */
#ifndef LS_TEXT_FINDING_H
#define LS_TEXT_FINDING_H

#include <stdbool.h>

struct finding;
struct page;

/* A paragraph of five or six lines; with `all` the stack and every process as well. */
void text_finding(struct page *page, const struct finding *finding, bool all);

/* The same in one line, for what has no room. */
void text_finding_line(struct page *page, const struct finding *finding);

#endif
