/* SPDX-License-Identifier: Apache-2.0 */
/* "pools" of the report, and "pool" of a finding. */
#ifndef LS_JSON_POOLS_H
#define LS_JSON_POOLS_H

#include "export/json_builder.h"

struct finding;
struct report;

void json_put_pools(struct builder *builder, cJSON *root, const struct report *report);
void json_put_finding_pool(struct builder *builder, cJSON *object, const struct finding *finding);

#endif
