/* SPDX-License-Identifier: Apache-2.0 */
/* What py_layouts.c holds besides the rows: where an interpreter describes itself. */
#ifndef LS_PY_LAYOUT_TABLES_H
#define LS_PY_LAYOUT_TABLES_H

#include "discover/py_layout.h"

/*
 * One u64 of a self-description and the layout field that it replaces.
 * Positions are bytes from the start of the description.
 */
struct py_told {
	uint16_t field;		/* offset in struct py_layout */
	uint16_t position;	/* of the value */
	uint16_t size;		/* of the size of the struct that the field is in */
	uint16_t base;		/* of a value to be subtracted; 0: none */
	uint16_t plus;		/* added: the field stands this far behind what is told */
	uint16_t width;		/* bytes of the field; 0: the value is a size itself */
};

struct py_told_table {
	uint32_t version;	/* as in struct py_layout */
	uint32_t size;		/* of the whole description, a multiple of 8 */
	uint32_t count;
	const struct py_told *told;
};

extern const struct py_told_table py_debug_tables[];
extern const unsigned py_debug_table_count;
extern const struct py_told_table py_asyncio_tables[];
extern const unsigned py_asyncio_table_count;

#endif
