// SPDX-License-Identifier: Apache-2.0
#include "aggregate/steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/groups.h"
#include "attribute/attribute.h"
#include "base/intern.h"
#include "base/vec.h"

#define CULPRIT_SHARE 60	/* percent of a request's samples that a culprit has to hold */
#define LONG_SAMPLES 2		/* one sample says that a callback ran, two that it lasted */
#define WAIT_MIN_NS 1000000	/* shorter waits do not enter, see PRODUCT "occurrence" */

/* One clock sample that waits for the length of its step. */
struct pending_sample {
	struct activity activity;	/* frames point to the array below */
	struct frame *frames;		/* owned */
	uint64_t owner;			/* who had the CPU, see owner_of() */
	bool shared;			/* handled already */
};

void pending_clear(struct pending_step *pending, bool all)
{
	for (size_t i = 0; i < pending->sample_count; i++)
		free(pending->samples[i].frames);
	pending->sample_count = 0;
	pending->touched_count = 0;
	pending->on_cpu_call_ns = 0;
	if (all)
		free(pending->samples);
}

struct pending_step *pending_of(struct window *window, const struct activity *activity)
{
	struct pending_step *pending = NULL;

	for (size_t i = 0; i < window->pending.count && !pending; i++)
		if (window->pending.items[i].tid == activity->tid &&
		    window->pending.items[i].pid == activity->pid)
			pending = &window->pending.items[i];
	if (!pending) {
		if (vec_grow(&window->pending, LS_MAX_WALK * 16))
			return NULL;
		pending = &window->pending.items[window->pending.count++];
		*pending = (struct pending_step){ .pid = activity->pid, .tid = activity->tid };
	}
	if (pending->seq != activity->step_seq) {
		pending_clear(pending, false);
		pending->seq = activity->step_seq;
	}
	return pending;
}

/*
 * Who had the CPU: one callback, and the request that it ran for.  Where callbacks
 * are not told apart the task is, or the function that the loop called.
 */
static uint64_t owner_of(const struct activity *activity)
{
	uint64_t callback = activity->callback;

	if (!callback)
		callback = activity->task ? activity->task
					  : (uintptr_t)activity->culprit.qualname;
	callback *= 0x9e3779b97f4a7c15ull;
	return (activity->request ^ callback ^ callback >> 32) | 1;
}

int pending_sample_add(struct window *window, const struct activity *activity)
{
	struct pending_step *pending = pending_of(window, activity);
	struct pending_sample *sample;
	int error;

	if (!pending)
		return -ENOMEM;
	error = vec_reserve((void **)&pending->samples, &pending->sample_capacity,
			    pending->sample_count + 1, sizeof(*pending->samples),
			    WINDOW_MAX_PENDING);
	if (error)
		return error == -E2BIG ? 0 : error;
	sample = &pending->samples[pending->sample_count];
	*sample = (struct pending_sample){ .activity = *activity, .owner = owner_of(activity) };
	sample->frames = calloc(activity->frame_count + 1, sizeof(*sample->frames));
	if (!sample->frames)
		return -ENOMEM;
	memcpy(sample->frames, activity->frames,
	       activity->frame_count * sizeof(*sample->frames));
	sample->activity.frames = sample->frames;
	pending->sample_count++;
	return 0;
}

/* In a system call that is accounted for on its own. */
static bool in_call(const struct pending_step *pending, const struct pending_sample *sample)
{
	return sample->activity.number >= 0 && pending->on_cpu_call_ns;
}

static bool is_gc(const struct pending_sample *sample)
{
	return sample->activity.flags & EVENT_F_GC;
}

/* Is the function of a frame on the application's part of a sample's stack? */
static const struct frame *frame_of_function(const struct activity *activity,
					     const struct code_info *code)
{
	size_t end = activity->hand_over < activity->frame_count ? activity->hand_over
								 : activity->frame_count;

	for (size_t i = 0; i < end; i++)
		if (activity->frames[i].code->qualname == code->qualname &&
		    activity->frames[i].code->file == code->file)
			return &activity->frames[i];
	return NULL;
}

struct share {
	uint64_t owner;
	bool gc;
	size_t count;
};

static bool in_share(const struct pending_step *pending, const struct pending_sample *sample,
		     const struct share *share)
{
	return sample->owner == share->owner && is_gc(sample) == share->gc &&
	       !in_call(pending, sample);
}

static size_t count_function(const struct pending_step *pending, const struct share *share,
			     const struct code_info *code)
{
	size_t count = 0;

	for (size_t i = 0; i < pending->sample_count; i++)
		if (in_share(pending, &pending->samples[i], share) &&
		    frame_of_function(&pending->samples[i].activity, code))
			count++;
	return count;
}

/*
 * The innermost application function that holds most of the share's samples:
 * when the time is spread over small helpers, their common caller.
 */
static const struct code_info *common_function(const struct pending_step *pending,
					       const struct share *share)
{
	for (size_t i = 0; i < pending->sample_count; i++) {
		const struct activity *activity = &pending->samples[i].activity;

		if (!in_share(pending, &pending->samples[i], share))
			continue;
		for (size_t f = next_application_frame(activity, 0); f < activity->hand_over &&
		     f < activity->frame_count; f = next_application_frame(activity, f + 1)) {
			const struct code_info *code = activity->frames[f].code;

			if (count_function(pending, share, code) * 100 >=
			    share->count * CULPRIT_SHARE)
				return code;
		}
	}
	return NULL;
}

/* Gives the CPU time of a share to its culprit. */
static int share_out(struct window *window, struct pending_step *pending,
		     const struct share *share, uint64_t ns, const struct activity *step)
{
	const struct code_info *code = common_function(pending, share);
	uint64_t each = ns / share->count;

	for (size_t i = 0; i < pending->sample_count; i++) {
		struct activity activity = pending->samples[i].activity;
		const struct frame *frame;
		int error;

		if (!in_share(pending, &pending->samples[i], share))
			continue;
		pending->samples[i].shared = true;
		frame = code ? frame_of_function(&activity, code) : NULL;
		if (frame)
			activity.culprit = place_of(frame);
		else if (code) /* outside of the culprit, but part of the same run */
			activity.culprit = (struct place){ code->file, code->function,
							   code->qualname, code->first_line };
		activity.flags |= step->flags;
		activity.number = -1;
		if (activity.own_work || (!activity.request && !activity.culprit.file &&
					  !activity.owner_task))
			continue;
		activity.time_ns = step->time_ns;
		activity.start_ns = step->start_ns;
		activity.ongoing = step->ongoing;
		error = group_add(window, share->gc ? CLASS_GC : CLASS_CPU, &activity, each, 0, 1,
				  pending);
		if (error)
			return error;
	}
	return 0;
}

/*
 * Of many callbacks each is sampled once at most; the samples of a long one come
 * at a steady pace.  The only sample of a step goes to whom it found.
 */
static bool is_short(const struct share *share, size_t total)
{
	return share->count < LONG_SAMPLES && total > share->count;
}

/* CPU time of the step that is nobody else's. */
static int share_cpu(struct window *window, struct pending_step *pending,
		     const struct activity *step)
{
	const struct step_parts *parts = &step->step->parts;
	uint64_t cpu = parts->cpu_user_ns + parts->cpu_kernel_ns;
	size_t total = 0;

	cpu = cpu > pending->on_cpu_call_ns ? cpu - pending->on_cpu_call_ns : 0;
	for (size_t i = 0; i < pending->sample_count; i++)
		total += !in_call(pending, &pending->samples[i]);
	if (!total)
		return 0;
	for (size_t i = 0; i < pending->sample_count; i++) {
		struct share share = { pending->samples[i].owner, is_gc(&pending->samples[i]), 0 };
		uint64_t ns;
		int error;

		if (pending->samples[i].shared || in_call(pending, &pending->samples[i]))
			continue;
		for (size_t k = i; k < pending->sample_count; k++)
			share.count += in_share(pending, &pending->samples[k], &share);
		ns = cpu / total * share.count;
		if (ns < window->stall_ns || is_short(&share, total)) {
			for (size_t k = i; k < pending->sample_count; k++)
				if (in_share(pending, &pending->samples[k], &share))
					pending->samples[k].shared = true;
			continue;
		}
		error = share_out(window, pending, &share, ns, step);
		if (error)
			return error;
	}
	return 0;
}

/* The function that more than half of the samples are in. */
static void note_modal(const struct pending_step *pending, struct waiting_step *waiting)
{
	size_t modal = 0;

	for (size_t i = 0; i < pending->sample_count; i++) {
		size_t alike = 0;

		for (size_t k = 0; k < pending->sample_count; k++)
			alike += pending->samples[k].activity.culprit.qualname ==
				 pending->samples[i].activity.culprit.qualname;
		if (alike * 2 > pending->sample_count && alike > modal) {
			modal = alike;
			waiting->modal = pending->samples[i].activity.culprit;
		}
	}
}

/* Callbacks that are short each, and most of the step together. */
static void judge_saturation(const struct window *window, const struct pending_step *pending,
			     const struct activity *step, struct waiting_step *waiting)
{
	const struct step_parts *parts = &step->step->parts;
	uint64_t cpu = parts->cpu_user_ns + parts->cpu_kernel_ns;
	uint64_t kept = parts->runnable_ns + parts->stopped_ns;	/* from it by others */
	uint64_t length = step->duration_ns > kept ? step->duration_ns - kept : 0;
	size_t total = pending->sample_count, callbacks = 0, in_short = 0;

	for (size_t i = 0; i < total; i++) {
		struct share share = { pending->samples[i].owner, false, 0 };
		bool first = true;

		for (size_t k = 0; k < total; k++) {
			bool equal = pending->samples[k].owner == share.owner;

			first &= !(equal && k < i);
			share.count += equal;
		}
		if (cpu / total * share.count >= window->stall_ns && !is_short(&share, total))
			continue;
		callbacks += first;
		in_short++;
	}
	waiting->samples = (uint32_t)total;
	waiting->callbacks = (uint32_t)callbacks;
	if (callbacks >= 2 && in_short * 2 > total && cpu * 2 > length) {
		waiting->saturated_ns = length;
		note_modal(pending, waiting);
	}
}

/* The holder that was sampled most while the step waited; -1 when none was. */
static int32_t holder_of(const struct window *window, const struct activity *step)
{
	size_t room = sizeof(window->holders) / sizeof(window->holders[0]), best = 0;
	size_t filled = window->holder_count < room ? window->holder_count : room;
	int32_t found = -1;

	for (size_t i = 0; i < filled; i++) {
		size_t same = 0;

		if (window->holders[i].pid != step->pid ||
		    window->holders[i].time_ns < step->start_ns ||
		    window->holders[i].time_ns > step->time_ns)
			continue;
		for (size_t k = 0; k < filled; k++)
			same += window->holders[k].group == window->holders[i].group &&
				window->holders[k].pid == step->pid &&
				window->holders[k].time_ns >= step->start_ns &&
				window->holders[k].time_ns <= step->time_ns;
		if (same > best) {
			best = same;
			found = (int32_t)window->holders[i].group;
		}
	}
	return found;
}

/* What others did to the loop in a step. */
static void log_waits(struct window *window, const struct waiting_step *waiting)
{
	const struct time_span at = { waiting->start_ns, waiting->start_ns + waiting->length_ns };
	const struct group *holder = waiting->holder < 0 ? NULL : window->groups[waiting->holder];

	if (waiting->gil_ns >= WAIT_MIN_NS)
		slow_log_cause(&window->slow, CAUSE_GIL, holder, &at, waiting->gil_ns);
	if (waiting->runnable_ns >= WAIT_MIN_NS)
		slow_log_cause(&window->slow, CAUSE_STARVED, NULL, &at, waiting->runnable_ns);
	slow_log_cause(&window->slow, CAUSE_SATURATED, NULL, &at, waiting->saturated_ns);
}

static int note_waits(struct window *window, const struct pending_step *pending,
		      const struct activity *step, int32_t *ret_holder)
{
	const struct event_step *event = step->step;
	struct waiting_step waiting = {
		.start_ns = step->start_ns, .length_ns = step->duration_ns,
		.gil_ns = event->parts.gil_ns, .runnable_ns = event->parts.runnable_ns,
		.rival_tgid = event->rival_tgid, .pid = step->pid, .tid = step->tid,
		.holder = -1, .ongoing = step->ongoing,
		.since_before = step->flags & EVENT_F_SINCE_BEFORE,
	};
	char rival[sizeof(event->rival) + 1] = "";
	int error;

	if (pending && step->duration_ns >= window->stall_ns)
		judge_saturation(window, pending, step, &waiting);
	if (waiting.gil_ns < WAIT_MIN_NS && waiting.runnable_ns < WAIT_MIN_NS &&
	    !waiting.saturated_ns)
		return 0;
	if (waiting.gil_ns >= WAIT_MIN_NS)
		waiting.holder = *ret_holder = holder_of(window, step);
	memcpy(rival, event->rival, sizeof(event->rival));
	waiting.rival = rival[0] ? intern_passing(rival) : NULL;
	log_waits(window, &waiting);
	error = vec_grow(&window->steps, WINDOW_MAX_STEPS);
	if (error)
		return error == -E2BIG ? 0 : error;
	window->steps.items[window->steps.count++] = waiting;
	return 0;
}

int step_add(struct window *window, const struct activity *step)
{
	struct pending_step *pending = pending_of(window, step);
	int32_t holder = -1;
	int error = 0;

	window->stopped_ns += step->step->parts.stopped_ns;
	error = note_waits(window, pending, step, &holder);
	if (!error && pending)
		error = share_cpu(window, pending, step);
	for (size_t i = 0; pending && i < pending->touched_count; i++) {
		struct cell *cell = &window->groups[pending->touched[i].group]
					     ->cells.items[pending->touched[i].cell];

		if (step->duration_ns > cell->lag_ns)
			cell->lag_ns = step->duration_ns;
	}
	if (!error && step->duration_ns >= window->stall_ns)
		error = victims_step(window, pending, step, holder, step->step->parts.gil_ns);
	if (pending)
		pending_clear(pending, false);
	return error;
}
