// SPDX-License-Identifier: Apache-2.0
#include "base/pace.h"

void pace_done(struct pace *pace, const struct pace_limits *limits, uint64_t now_ns,
	       uint64_t cost_ns)
{
	uint64_t earned = pace->last_ns ? (now_ns - pace->last_ns) / limits->share : 0;
	uint64_t pause = cost_ns;

	pace->spent_ns = (pace->spent_ns > earned ? pace->spent_ns - earned : 0) + cost_ns;
	pace->last_ns = now_ns;
	pace->costs[pace->count++ % PACE_COSTS] = cost_ns;
	for (unsigned i = 0; i < PACE_COSTS; i++)
		if (pace->costs[i] < pause)
			pause = pace->costs[i];
	pause *= limits->share;
	if (pause > limits->most_ns && pace->spent_ns < limits->credit_ns)
		pause = limits->most_ns;
	pace->due_ns = now_ns + (pause > limits->least_ns ? pause : limits->least_ns);
}
