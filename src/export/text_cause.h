/* SPDX-License-Identifier: Apache-2.0 */
/* The worst cause of a route's latency, in a few words. */
#ifndef LS_TEXT_CAUSE_H
#define LS_TEXT_CAUSE_H

#include "attribute/timeline.h"

struct finding;
struct report;
struct route_summary;

struct route_cause {
	unsigned percent;	/* of the time; 0: nothing stands out */
	enum time_part part;
	const struct finding *finding;	/* what held it up, of the report; NULL: not known */
	const char *peer;		/* that it waited for; NULL: not known */
};

/*
 * Being behind others when that is most of its slow requests' time, else the
 * part in which most of the time of all its requests went.
 */
struct route_cause route_cause_of(const struct report *report, const struct route_summary *route);

/* "97 % behind POST /report", "thread 90 %", "-"; owned by the caller, NULL: no memory. */
char *route_cause_text(const struct route_cause *cause);

#endif
