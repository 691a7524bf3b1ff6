/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the text report: colours, widths, wrapping, numbers for people. */
#ifndef LS_TEXT_PAGE_H
#define LS_TEXT_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_INDENT 10	/* columns before everything that belongs to a finding */

enum text_style {
	STYLE_PLAIN,
	STYLE_CRITICAL,
	STYLE_WARNING,
	STYLE_GOOD,
	STYLE_ROUTE,
	STYLE_PLACE,
	STYLE_DIM,
};

struct place;

/* Where lines go; one per block, so that its lines can be counted before it is printed. */
struct page {
	FILE *out;
	bool color;
	unsigned width;
	int error;	/* the first -errno */
};

/* Text of a target or of our own in one style; bytes a terminal would act on are replaced. */
void page_put(struct page *page, enum text_style style, const char *text);

/*
 * A paragraph: `indent` spaces, `mark` on the first line, the words of the text
 * broken before the width; further lines stand in by the mark, at most 3 columns.
 */
void page_wrap(struct page *page, enum text_style style, unsigned indent, const char *mark,
	       const char *text);

/*
 * A line "prefix path:line name"; a path that is too long loses its beginning.
 */
void page_location(struct page *page, enum text_style style, unsigned indent,
		   const char *prefix, const struct place *location);

/* "path:line name" with the path cut at the left to what fits in `columns`; owned by caller. */
char *location_text(const struct place *location, unsigned columns);

/* "1,204"; returns the buffer. */
#define NUMBER_BYTES 32
char *format_number(uint64_t value, char *buffer);

#endif
