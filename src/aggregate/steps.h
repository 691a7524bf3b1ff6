/* SPDX-License-Identifier: Apache-2.0 */
/* What a step was made of, once it has ended; inside aggregate. */
#ifndef LS_STEPS_H
#define LS_STEPS_H

#include "aggregate/window.h"

/* The step that an activity's loop is in, made anew for a new step; NULL when out of memory. */
struct pending_step *pending_of(struct window *window, const struct activity *activity);

/* Forgets what waits; frees the array too when `all`. */
void pending_clear(struct pending_step *pending, bool all);

int pending_sample_add(struct window *window, const struct activity *activity);

/* The step has ended, or is ongoing when the window ends: shares it out. */
int step_add(struct window *window, const struct activity *activity);

#endif
