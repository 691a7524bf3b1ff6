// SPDX-License-Identifier: Apache-2.0
#include "export/text_page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "detect/finding.h"
#include "export/clean.h"

#define PATH_LEAST 16	/* columns a path keeps however long the name behind it is */
#define CUT "..."
#define HANG_MOST 3	/* columns further lines of a paragraph stand in from the first */

static const char *const styles[] = {
	[STYLE_PLAIN] = "",
	[STYLE_CRITICAL] = "\033[1;31m",
	[STYLE_WARNING] = "\033[1;33m",
	[STYLE_GOOD] = "\033[1;32m",
	[STYLE_ROUTE] = "\033[1;36m",
	[STYLE_PLACE] = "\033[1m",
	[STYLE_DIM] = "\033[2m",
};

static void put_clean(struct page *page, enum text_style style, const char *text, size_t length)
{
	bool styled = page->color && style != STYLE_PLAIN && length;

	fprintf(page->out, "%s%.*s%s", styled ? styles[style] : "", (int)length, text,
		styled ? "\033[0m" : "");
}

void page_put(struct page *page, enum text_style style, const char *text)
{
	_cleanup_free_ char *clean = clean_text(text, CLEAN_PRINT);

	if (clean)
		put_clean(page, style, clean, strlen(clean));
	else if (text)
		page->error = -ENOMEM;
}

/* Bytes of `text` that stand on one line of `room` columns; at least a word. */
static size_t line_length(const char *text, size_t room)
{
	size_t kept = clean_prefix(text, room), at = kept;

	if (!text[kept] || text[kept] == ' ')
		return kept;
	while (at && text[at - 1] != ' ')
		at--;
	return at ? at - 1 : strcspn(text, " ");
}

void page_wrap(struct page *page, enum text_style style, unsigned indent, const char *mark,
	       const char *text)
{
	_cleanup_free_ char *clean = clean_text(text, CLEAN_PRINT);
	unsigned used = indent + (unsigned)strlen(mark), hang = used;
	const char *at = clean;
	size_t length;

	if (hang > indent + HANG_MOST)
		hang = indent + HANG_MOST;
	if (!clean) {
		page->error = -ENOMEM;
		return;
	}
	fprintf(page->out, "%*s%s", (int)indent, "", mark);
	for (;;) {
		length = line_length(at, page->width > used ? page->width - used : 1);
		put_clean(page, style, at, length);
		putc('\n', page->out);
		at += length;
		at += strspn(at, " ");
		if (!*at)
			break;
		fprintf(page->out, "%*s", (int)hang, "");
		used = hang;
	}
}

/* The end of a path: whole folders where that is possible, at most `room` columns. */
static const char *path_end(const char *path, size_t room)
{
	size_t width = clean_width(path), skip;
	const char *at, *slash;

	if (width <= room)
		return path;
	skip = clean_prefix(path, width - (room - strlen(CUT)));
	at = path + skip;
	slash = strchr(at, '/');
	return slash ? slash : at;
}

char *location_text(const struct place *location, unsigned columns)
{
	_cleanup_free_ char *path = clean_text(location->file ? location->file : "?", CLEAN_PRINT);
	_cleanup_free_ char *name = clean_text(location_name(location), CLEAN_PRINT);
	char line[16] = "", *text;
	size_t room, size;
	const char *end;

	if (!path || !name)
		return NULL;
	if (location->line)
		snprintf(line, sizeof(line), ":%" PRIu32, location->line);
	room = strlen(line) + 1 + clean_width(name);
	room = columns > room + PATH_LEAST ? columns - room : PATH_LEAST;
	end = path_end(path, room);
	size = strlen(CUT) + strlen(end) + strlen(line) + 1 + strlen(name) + 1;
	text = malloc(size);
	if (text)
		snprintf(text, size, "%s%s%s %s", end == path ? "" : CUT, end, line, name);
	return text;
}

void page_location(struct page *page, enum text_style style, unsigned indent,
		   const char *prefix, const struct place *location)
{
	unsigned used = indent + (unsigned)strlen(prefix);
	_cleanup_free_ char *text = NULL;

	text = location_text(location, page->width > used ? page->width - used : 1);
	if (!text) {
		page->error = -ENOMEM;
		return;
	}
	fprintf(page->out, "%*s%s", (int)indent, "", prefix);
	put_clean(page, style, text, strlen(text));
	putc('\n', page->out);
}

char *format_number(uint64_t value, char *buffer)
{
	char digits[24];
	size_t length = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, value);
	char *to = buffer;

	for (size_t i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return buffer;
}
