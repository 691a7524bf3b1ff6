/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LS_SHAPE_INTERNAL_H
#define LS_SHAPE_INTERNAL_H

#include "attribute/shape.h"

/* Text as it is, bytes that are no character replaced. */
void shape_append(struct shape_text *shape, const uint8_t *text, size_t length);

/* Ends the shape where the text could not be followed any further. */
void shape_cut(struct shape_text *shape);

bool shape_ends(const struct shape_text *shape, const char *text);
void shape_take_back(struct shape_text *shape, size_t length);

#endif
