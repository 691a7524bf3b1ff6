/* SPDX-License-Identifier: Apache-2.0 */
/* One probe at a time, to say which of them this kernel refuses. */
#ifndef LS_TRY_H
#define LS_TRY_H

#include <stddef.h>

#include "attach/probes.h"

/*
 * Loads and attaches one probe alone and takes it away again.  0 or -errno; `message`
 * (>= 256 bytes) then has what the kernel says, in one line.
 */
int attach_try(enum probe_id id, char *message, size_t size);

#endif
