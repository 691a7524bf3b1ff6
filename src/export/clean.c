// SPDX-License-Identifier: Apache-2.0
#include "export/clean.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "detect/finding.h"

#define REPLACEMENT "\xef\xbf\xbd"	/* U+FFFD */

/*
 * Length of the UTF-8 sequence at `at` and its code point; 0 when it is none
 * (cut, overlong, a surrogate, beyond U+10FFFF).
 */
static size_t decode(const unsigned char *at, uint32_t *ret_point)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t point;
	size_t length;

	if (at[0] < 0x80) {
		*ret_point = at[0];
		return 1;
	}
	if (at[0] < 0xc2 || at[0] > 0xf4)
		return 0;
	length = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
	point = at[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (at[i] & 0x3f);
	}
	if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*ret_point = point;
	return length;
}

static bool steers(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
	       point == 0x200e || point == 0x200f || point == 0x2028 || point == 0x2029 ||
	       (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
	       (point & 0xfffe) == 0xfffe;
}

char *clean_text(const char *text, enum clean_for purpose)
{
	const unsigned char *at = (const unsigned char *)text;
	char *copy, *to;
	uint32_t point;
	size_t length;

	if (!text)
		return NULL;
	/* One byte becomes at most the three of U+FFFD. */
	copy = malloc(strlen(text) * 3 + 1);
	if (!copy)
		return NULL;
	for (to = copy; *at; at += length) {
		length = decode(at, &point);
		if (!length) {
			memcpy(to, REPLACEMENT, 3);
			to += 3;
			length = 1;
		} else if (purpose == CLEAN_PRINT && steers(point)) {
			*to++ = '?';
		} else {
			memcpy(to, at, length);
			to += length;
		}
	}
	*to = '\0';
	return copy;
}

size_t clean_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

size_t clean_prefix(const char *text, size_t columns)
{
	size_t at = 0;

	for (; text[at]; at++)
		if (((unsigned char)text[at] & 0xc0) != 0x80 && !columns--)
			break;
	return at;
}

void xml_escape(FILE *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			putc(*text, out);
		}
	}
}

const char *location_name(const struct place *location)
{
	if (location->qualname && *location->qualname)
		return location->qualname;
	if (location->function && *location->function)
		return location->function;
	return "?";
}
