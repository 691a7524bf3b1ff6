/* SPDX-License-Identifier: Apache-2.0 */
/* What a report says about routes, peers and victims, out of the window. */
#ifndef LS_SUMMARY_H
#define LS_SUMMARY_H

#include "detect/detect.h"

/*
 * Fills routes, websockets and dependencies of a report whose findings are there
 * already, in their final order.  `busy_ns` is what all loops were busy for.  0 or
 * -ENOMEM; what was filled is freed by report_free().
 */
int summary_fill(const struct detect_input *input, uint64_t busy_ns, struct report *report);

/*
 * The verdicts of the window, once findings and targets are there, as freed by
 * report_free().  None where no loop took a step.  0 or -ENOMEM.
 */
int verdicts_fill(const struct detect_input *input, struct report *report);

/* The pools of the window. 0 or -ENOMEM. */
int pools_fill(const struct detect_input *input, struct report *report);

#endif
