/* SPDX-License-Identifier: Apache-2.0 */
/* What it was, in a line for each interval: for people, and in JSON. */
#ifndef LS_VERDICTS_H
#define LS_VERDICTS_H

#include "export/json_builder.h"
#include "export/text_page.h"

struct report;
struct verdict;

/* "loop blocked by GET /report, app/report.py:42 build (...)"; owned, NULL: no memory. */
char *verdict_text(const struct report *report, const struct verdict *verdict);

/* The worst one, and when it was what, where it changed; not all changes unless `all`. */
void text_verdicts(struct page *page, const struct report *report, bool all);

void json_put_verdicts(struct builder *builder, cJSON *root, const struct report *report);

#endif
