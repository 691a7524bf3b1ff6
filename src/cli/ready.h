/* SPDX-License-Identifier: Apache-2.0 */
/* Says to whoever started the program that it observes now. */
#ifndef LS_READY_H
#define LS_READY_H

/*
 * Sends READY=1 to the socket that $NOTIFY_SOCKET names, a path or "@" and an abstract
 * name, as sd_notify(3) describes it; without one it does nothing.  Nobody's listening is
 * no reason not to go on.
 */
void ready_tell(void);

#endif
