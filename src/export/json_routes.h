/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the JSON report about requests and what they waited for. */
#ifndef LS_JSON_ROUTES_H
#define LS_JSON_ROUTES_H

#include "export/json_builder.h"

struct report;
struct selection;

/* Puts routes, websockets, middleware, dependencies and injected. */
void json_put_routes(struct builder *builder, cJSON *root, const struct report *report,
		     const struct selection *selection);

#endif
