// SPDX-License-Identifier: Apache-2.0
#include "cli/pool_threads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/units.h"

#define HOLD_AT_ONCE 8
#define RUNNING_AT_ONCE 64
#define FLOAT_VALUE 16		/* Include/cpython/floatobject.h: behind the object's head */

/* Threads that wait, one percent of a CPU; what the others do, for each pool. */
static const struct pace_limits waiting_pace = { .least_ns = 10 * NS_PER_MS, .share = 100 };
static const struct pace_limits holder_pace = { .least_ns = 50 * NS_PER_MS, .share = 200 };

/* A stack, resolved; `at` says which of its records each frame is. */
struct thread_stack {
	struct walk_result walk;
	struct frame frames[LS_MAX_FRAMES];
	uint32_t at[LS_MAX_FRAMES];
	size_t count;
};

static int walk(const struct pool_looks *looks, uint64_t tstate, struct thread_stack *stack)
{
	const struct observed *observed = looks->observed;
	int error = walk_thread(observed->target->mem, &observed->config, &observed->roles, tstate,
				0, &stack->walk);

	stack->count = 0;
	for (uint32_t i = 0; !error && i < stack->walk.stack.count; i++)
		if (code_cache_resolve(observed->view.codes, &stack->walk.stack.frames[i], 1,
				       &stack->frames[stack->count], 1))
			stack->at[stack->count++] = i;
	return error;
}

static struct pool_frames frames_of(const struct thread_stack *stack)
{
	return (struct pool_frames){ stack->frames, stack->at, stack->count };
}

/* All threads of the process and room for one stack, both for the caller to free; how many. */
static ssize_t all_threads(const struct pool_looks *looks, struct thread_state_ref **ret_threads,
			   struct thread_stack **ret_stack)
{
	*ret_threads = calloc(LOOK_THREADS, sizeof(**ret_threads));
	*ret_stack = malloc(sizeof(**ret_stack));
	if (!*ret_threads || !*ret_stack)
		return 0;
	return target_thread_states(looks->observed->target, *ret_threads, LOOK_THREADS);
}

/* ---- waiting ------------------------------------------------------------------- */

/* Of the locals of a library's functions: something that each wait has of its own. */
static const char *const own_locals[] = { "endtime", "pos", "pool_request" };

/* What is in a local's slot: the deadline itself, for a float may be where the last one was. */
static uint64_t mark_at(const struct target *target, uint64_t slot)
{
	uint64_t object = 0, value;

	if (!slot || mem_read_u64(target->mem, slot, &object))
		return 0;
	object &= ~(uint64_t)target->layout.stackref_tags;
	if (py_is(&target->py, object, "float") &&
	    !mem_read_u64(target->mem, object + FLOAT_VALUE, &value))
		return value;
	return object;
}

static uint64_t slot_of(const struct target *target, const struct thread_stack *stack,
			const struct thread_top *top, size_t until)
{
	const struct py_reader *py = &target->py;
	uint64_t frame;
	uint32_t local;

	for (size_t i = 0; i <= until; i++)
		for (size_t k = 0; k < sizeof(own_locals) / sizeof(own_locals[0]); k++)
			if (!py_code_local(py, stack->walk.stack.frames[stack->at[i]].code,
					   own_locals[k], &local) &&
			    !thread_frame(target, top, stack->at[i], &frame))
				return frame + target->layout.frame_locals + 8ull * local;
	return 0;
}

static uint32_t row_of(struct pool_looks *looks, const struct pool_signature *signature,
		       uint64_t object)
{
	const struct observed *observed = looks->observed;
	uint32_t number = pools_row(&looks->observation->window.pools, observed->pid, signature,
				    object);
	struct pool_row *row = pools_at(&looks->observation->window.pools, number);

	if (row && !row->name)
		row->name = pool_thread_name(observed->target, object);
	return number;
}

/* What a thread waits for or uses; `signature` NULL: nothing. */
struct found_pool {
	const struct pool_signature *signature;
	uint64_t object;
};

/* The pool that a thread has a connection of, if that is one which nobody waits for. */
static void find_used(struct pool_looks *looks, const struct thread_stack *stack,
		      struct thread_memory *to, struct found_pool *ret_found)
{
	struct observed *observed = looks->observed;
	const struct target *target = observed->target;
	const struct pool_frames frames = frames_of(stack);
	const struct pool_signature *signature;
	uint64_t frame, object;
	size_t at;

	signature = pool_match_thread_use(&frames, &at);
	if (!signature || thread_frame(target, &to->top, stack->at[at], &frame) ||
	    thread_local_object(target, &observed->config, frame, 0, &object) ||
	    pool_of_argument(target, signature, &object))
		return;
	*ret_found = (struct found_pool){ signature, object };
	to->uses = true;
	to->slot = frame + target->layout.frame_locals;
	to->mark = mark_at(target, to->slot);
}

/* Which pool a thread at `top` waits for, if it has not gone on meanwhile. */
static void find_pool(struct pool_looks *looks, uint64_t tstate, const struct thread_top *top,
		      struct thread_stack *stack, struct thread_memory *to,
		      struct found_pool *ret_found)
{
	struct observed *observed = looks->observed;
	const struct target *target = observed->target;
	const struct pool_signature *signature;
	struct pool_frames frames;
	uint64_t frame, object = 0;
	size_t at;

	*to = (struct thread_memory){ .tstate = tstate, .top = *top };
	if (walk(looks, tstate, stack))
		return;
	frames = frames_of(stack);
	signature = pool_match_thread(&frames, &at);
	if (!signature) {
		find_used(looks, stack, to, ret_found);
		return;
	}
	if (thread_frame(target, top, stack->at[at], &frame) ||
	    thread_local_object(target, &observed->config, frame, 0, &object))
		object = 0;
	*ret_found = (struct found_pool){ signature, object };
	to->slot = slot_of(target, stack, top, at);
	to->mark = mark_at(target, to->slot);
	to->site = pool_looks_site(&frames);
	to->root = stack->walk.request.root;
	to->root_serial = stack->walk.request.root_serial;
	to->of_request = stack->walk.request.scope_type != SCOPE_NONE;
	/* somewhere between two looks it began to wait */
	if (observed->pools->threads_ns)
		to->since_ns = observed->pools->threads_ns +
			       (looks->snapshot->time_ns - observed->pools->threads_ns) / 2;
}

static const struct thread_memory *known(const struct pool_memory *memory, uint64_t tstate)
{
	for (size_t i = 0; i < memory->thread_count; i++)
		if (memory->threads[i].tstate == tstate)
			return &memory->threads[i];
	return NULL;
}

static bool same_top(const struct thread_top *a, const struct thread_top *b)
{
	return a->frame == b->frame && a->code == b->code && a->instruction == b->instruction &&
	       a->previous == b->previous;
}

/* Room for one look at all threads. */
struct waiting_look {
	struct thread_state_ref threads[LOOK_THREADS];
	struct thread_top tops[LOOK_THREADS], again;
	struct thread_memory now[LOOK_THREADS];
	struct thread_stack stack;
};

/* A thread that waits, as it was or as it is found now. False: it has gone on. */
static bool look_at(struct pool_looks *looks, struct waiting_look *room, size_t thread,
		    struct thread_memory *to)
{
	const struct target *target = looks->observed->target;
	uint64_t tstate = room->threads[thread].tstate;
	const struct thread_top *top = &room->tops[thread];
	const struct thread_memory *before = known(looks->observed->pools, tstate);
	struct found_pool found = { 0 };

	bool same = before && same_top(&before->top, top) &&
		    (!before->slot || mark_at(target, before->slot) == before->mark);

	/* its task may have been on its way to wait for it: then who it works for is known now */
	if (same && (!before->pool || before->of_request)) {
		*to = *before;
		return true;
	}
	find_pool(looks, tstate, top, &room->stack, to, &found);
	if (same)
		to->since_ns = before->since_ns;
	if (thread_tops(target, &room->threads[thread], 1, &room->again) ||
	    !same_top(&room->again, top))
		return false;
	if (found.signature)
		to->pool = row_of(looks, found.signature, found.object);
	return true;
}

static size_t look_at_all(struct pool_looks *looks, struct waiting_look *room,
			  struct thread_wait *waits, size_t max)
{
	struct observed *observed = looks->observed;
	struct pool_memory *memory = observed->pools;
	ssize_t count = target_thread_states(observed->target, room->threads, LOOK_THREADS);
	size_t kept = 0, waiting = 0;

	if (count < 0 || thread_tops(observed->target, room->threads, (size_t)count, room->tops))
		return 0;
	for (ssize_t i = 0; i < count; i++) {
		struct thread_memory *now = &room->now[kept];

		if (!room->tops[i].code ||
		    !pool_thread_may_match(code_cache_get(observed->view.codes,
							  room->tops[i].code, 0)) ||
		    !look_at(looks, room, (size_t)i, now))
			continue;
		kept++;
		if (now->uses)
			pool_looks_used(looks, now->pool);
		if (!now->pool || now->uses || waiting == max)
			continue;
		waits[waiting++] = (struct thread_wait){
			.root = now->root, .root_serial = now->root_serial,
			.look = { .pool = now->pool, .call = now->mark ^ now->top.frame,
				  .future = now->top.frame, .site = now->site,
				  .since_ns = now->since_ns, .thread = true } };
	}
	memcpy(memory->threads, room->now, kept * sizeof(*room->now));
	memory->thread_count = kept;
	return waiting;
}

/* It is too early to look at them again. */
static size_t waited_before(const struct pool_memory *memory, struct thread_wait *waits, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < memory->thread_count && count < max; i++)
		if (memory->threads[i].pool && !memory->threads[i].uses)
			waits[count++] = (struct thread_wait){
				.root = memory->threads[i].root,
				.root_serial = memory->threads[i].root_serial };
	return count;
}

size_t pool_threads_waiting(struct pool_looks *looks, struct thread_wait *waits, size_t max)
{
	_cleanup_free_ struct waiting_look *room = NULL;
	struct pool_memory *memory = looks->observed->pools;
	uint64_t start = thread_cpu_ns();
	size_t count;

	if (looks->snapshot->time_ns < memory->threads_looked_at.due_ns)
		return waited_before(memory, waits, max);
	room = malloc(sizeof(*room));
	if (!room)
		return 0;
	count = look_at_all(looks, room, waits, max);
	memory->threads_ns = looks->snapshot->time_ns;
	pace_done(&memory->threads_looked_at, &waiting_pace, monotonic_ns(),
		  thread_cpu_ns() - start);
	return count;
}

/* ---- running ------------------------------------------------------------------- */

static void look_at_running(struct pool_looks *looks, struct thread_stack *stack, uint64_t tstate,
			    pool_thread_runs runs, void *context)
{
	uint64_t codes[LS_MAX_FRAMES];

	if (walk(looks, tstate, stack) || !stack->walk.request.root)
		return;
	for (size_t i = 0; i < stack->count; i++)
		codes[i] = stack->walk.stack.frames[stack->at[i]].code;
	runs(context, &stack->walk.request, stack->frames, codes, stack->count);
}

void pool_threads_running(struct pool_looks *looks, pool_thread_runs runs, void *context)
{
	_cleanup_free_ struct thread_state_ref *threads = NULL;
	_cleanup_free_ struct thread_stack *stack = NULL;
	struct pool_memory *memory = looks->observed->pools;
	uint64_t now = monotonic_ns(), start = thread_cpu_ns();
	ssize_t count;

	if (looks->snapshot->time_ns < memory->running_looked_at.due_ns)
		return;
	count = all_threads(looks, &threads, &stack);
	for (ssize_t i = 0; i < count && i < RUNNING_AT_ONCE; i++)
		look_at_running(looks, stack,
				threads[memory->next_thread++ % (size_t)count].tstate, runs,
				context);
	pace_done(&memory->running_looked_at, &waiting_pace, now, thread_cpu_ns() - start);
}

/* ---- holding ------------------------------------------------------------------- */

/* Does the stack begin where threads of this kind of pool are given their work? */
static bool is_worker(const struct pool_row *row, const struct activity *activity)
{
	const char *qualname = pool_class(row->signature) == POOL_THREADS ? "WorkerThread.run"
									  : "_WorkItem.run";

	for (size_t i = activity->frame_count; i-- > 0;)
		if (!strcmp(activity->frames[i].code->qualname, qualname))
			return true;
	return false;
}

static bool is_of_executor(struct pool_looks *looks, const struct pool_row *row, uint64_t ident)
{
	const struct executors *executors;

	if (pool_class(row->signature) != POOL_EXECUTOR || !row->object)
		return true;
	executors = pool_looks_executors(looks);
	for (size_t i = 0; i < executors->thread_count; i++)
		if (executors->threads[i].ident == ident)
			return executors->items[executors->threads[i].executor].object ==
			       row->object;
	return false;
}

/* Is what the thread runs of this pool? */
static bool holds(const struct pool_looks *looks, const struct pool_row *row,
		  const struct request_record *request, const struct activity *activity,
		  bool waits)
{
	switch (pool_class(row->signature)) {
	case POOL_THREADS:
		if (row->object && !pool_has_borrower(&looks->observed->target->py, row->object,
						      request->task))
			return false;
		return is_worker(row, activity);
	case POOL_EXECUTOR:
		return is_worker(row, activity);
	case POOL_DATABASE:
	case POOL_HTTP:
	case POOL_LIMITER:
	case POOL_LOCK:
		break;
	}
	return !waits && activity->request &&
	       pools_used_by(row, activity->route.route, activity->route.method);
}

static bool same_stack(const struct stack_record *before, const struct thread_stack *stack)
{
	const struct stack_record *now = &stack->walk.stack;

	return before->count == now->count &&
	       !memcmp(before->frames, now->frames, now->count * sizeof(*now->frames));
}

/* What one thread runs for the pool, if it is one of its. */
static bool look_at_holder(struct pool_looks *looks, struct pool_row *row,
			   struct thread_stack *stack, uint64_t tstate)
{
	struct observed *observed = looks->observed;
	struct event_call call = { 0 };
	struct activity activity;
	struct pool_frames frames;
	struct pool_holder holder;
	size_t at;
	bool waits;

	if (walk(looks, tstate, stack))
		return false;
	frames = frames_of(stack);
	waits = pool_match_thread(&frames, &at) != NULL;
	call.header.kind = EVENT_CALL;
	call.header.tgid = (uint32_t)observed->pid;
	call.header.time_ns = looks->snapshot->time_ns;
	call.request = stack->walk.request;
	call.stack = stack->walk.stack;
	if (attribute_event(&observed->view, &call.header, stack->frames, &activity) ||
	    !activity.culprit.file || !holds(looks, row, &call.request, &activity, waits))
		return false;
	/* or it was done while it was looked at: its stack was read first */
	if (!activity.request && (walk(looks, tstate, stack) || !same_stack(&call.stack, stack)))
		return false;
	holder = (struct pool_holder){
		.route = activity.route.route, .method = activity.route.method,
		.folded = activity.route.folded, .place = activity.culprit, .waits = waits,
	};
	pools_hold(row, &holder);
	return true;
}

void pool_threads_hold(struct pool_looks *looks, struct pool_row *row)
{
	_cleanup_free_ struct thread_state_ref *threads = NULL;
	_cleanup_free_ struct thread_stack *stack = NULL;
	uint64_t now = monotonic_ns(), start = thread_cpu_ns();
	unsigned looked = 0;
	ssize_t count;
	size_t first;

	if (looks->snapshot->time_ns < row->holders_looked_for.due_ns)
		return;
	count = all_threads(looks, &threads, &stack);
	first = count > 0 ? (size_t)(now / NS_PER_MS) % (size_t)count : 0;
	for (ssize_t i = 0; i < count && looked < HOLD_AT_ONCE; i++) {
		const struct thread_state_ref *it = &threads[(first + (size_t)i) % (size_t)count];

		if (is_of_executor(looks, row, it->ident))
			looked += look_at_holder(looks, row, stack, it->tstate);
	}
	pace_done(&row->holders_looked_for, &holder_pace, now, thread_cpu_ns() - start);
}
