/* SPDX-License-Identifier: Apache-2.0 */
/* Layout tables of the supported CPython versions. */
#ifndef LS_PY_LAYOUT_H
#define LS_PY_LAYOUT_H

#include <stdint.h>

#include "target_config.h"

/* Generated from tools/cpython-offsets.json by tools/gen-layouts.py. */
extern const struct py_layout py_layouts[];
extern const unsigned py_layout_count;

/* The row of a PY_VERSION_HEX, NULL when the version is not supported. */
const struct py_layout *py_layout_find(uint32_t version_hex);

struct mem;

/*
 * Replaces what the interpreter says of itself (_Py_DebugOffsets, 3.13+, at
 * `runtime`) in `layout`.  0, -ENOENT when it says nothing (3.12 and older),
 * -EPROTO when what it says cannot be (then it must be refused), -EOPNOTSUPP for a
 * free-threaded build.
 */
int py_layout_from_runtime(const struct mem *mem, uint64_t runtime, uint32_t version_hex,
			   struct py_layout *layout);

/* The same for the section .AsyncioDebug (3.14+), at `address` in memory. */
int py_layout_from_asyncio(const struct mem *mem, uint64_t address, struct py_layout *layout);

#endif
