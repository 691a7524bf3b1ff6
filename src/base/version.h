/* SPDX-License-Identifier: Apache-2.0 */
/* The version of the program; a build may set its own. */
#ifndef LS_VERSION_H
#define LS_VERSION_H

#ifndef LOOPSCOPE_VERSION
#define LOOPSCOPE_VERSION "0.1.0"
#endif

#endif
