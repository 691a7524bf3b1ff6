/* SPDX-License-Identifier: Apache-2.0 */
/* One finding in the text report. */
#ifndef LS_TEXT_FINDING_H
#define LS_TEXT_FINDING_H

#include <stdbool.h>
#include <stddef.h>

struct finding;
struct page;

#define SUBJECT_BYTES 512

/* Whose work it is: the route, or the task or thread where there is none.  Returns buffer. */
const char *finding_subject(const struct finding *finding, char *buffer, size_t size);

/* A paragraph of five or six lines; with `all` the stack and every process as well. */
void text_finding(struct page *page, const struct finding *finding, bool all);

/* The same in one line, for what has no room. */
void text_finding_line(struct page *page, const struct finding *finding);

#endif
