// SPDX-License-Identifier: Apache-2.0
/* The threads of a target for those outside of discover. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "discover/target.h"
#include "discover/target_internal.h"

ssize_t target_thread_states(const struct target *target, struct thread_state_ref *ret_threads,
			     size_t room)
{
	_cleanup_free_ struct target_thread *threads = NULL;
	ssize_t count = target_threads(target, &threads);

	if (count < 0)
		return count;
	if ((size_t)count > room)
		count = (ssize_t)room;
	for (ssize_t i = 0; i < count; i++)
		ret_threads[i] = (struct thread_state_ref){ threads[i].tstate,
							    threads[i].thread_id };
	return count;
}
