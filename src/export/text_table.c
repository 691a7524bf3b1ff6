// SPDX-License-Identifier: Apache-2.0
#include "export/text_table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "export/clean.h"

#define CUT "..."
#define CUT_WIDTH 3
#define NARROW 14	/* columns of a cut cell below which optional columns give way */
#define NARROWEST 8	/* and what it has however little room there is */

struct layout {
	size_t width[TABLE_COLUMNS];
	bool kept[TABLE_COLUMNS];
};

struct table table_begin(const struct table_column *columns, size_t column_count)
{
	return (struct table){ .columns = columns, .column_count = column_count };
}

void table_cell(struct table *table, enum text_style style, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	char *clean;
	va_list arguments;
	int length;

	if (table->error)
		return;
	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0) {
		text = NULL;
		table->error = -ENOMEM;
		return;
	}
	table->error = vec_grow(&table->cells, SIZE_MAX);
	if (table->error)
		return;
	clean = clean_text(text, CLEAN_PRINT);
	if (!clean)
		table->error = -ENOMEM;
	else
		table->cells.items[table->cells.count++] = (struct table_cell){ clean, style };
}

/* Numbers stand close to each other, words do not. */
static size_t gap_before(const struct table *table, const struct layout *layout, size_t column)
{
	size_t before = column;

	while (before--)
		if (layout->kept[before])
			return table->columns[column].right && table->columns[before].right ? 1 : 2;
	return 0;
}

/* What those columns have together that are cut, and how many they are. */
static size_t room_of(const struct table *table, const struct layout *layout, unsigned width,
		      size_t *ret_count, size_t *ret_wanted)
{
	size_t used = 0;

	*ret_count = *ret_wanted = 0;
	for (size_t i = 0; i < table->column_count; i++) {
		if (!layout->kept[i])
			continue;
		used += gap_before(table, layout, i);
		if (table->columns[i].cut == CUT_NEVER) {
			used += layout->width[i];
		} else {
			(*ret_count)++;
			*ret_wanted += layout->width[i];
		}
	}
	return width > used ? width - used : 0;
}

static bool drop_one(const struct table *table, struct layout *layout)
{
	size_t best = table->column_count;

	for (size_t i = 0; i < table->column_count; i++)
		if (layout->kept[i] && table->columns[i].optional &&
		    (best == table->column_count ||
		     table->columns[i].optional < table->columns[best].optional))
			best = i;
	if (best == table->column_count)
		return false;
	layout->kept[best] = false;
	return true;
}

/* Columns that need less than their share leave the rest to the others. */
static void share_room(const struct table *table, struct layout *layout, size_t room,
		       size_t count)
{
	bool done[TABLE_COLUMNS] = { false }, again = true;

	while (again && count) {
		again = false;
		for (size_t i = 0; i < table->column_count; i++) {
			if (done[i] || !layout->kept[i] || table->columns[i].cut == CUT_NEVER ||
			    layout->width[i] > room / count)
				continue;
			room -= layout->width[i];
			count--;
			done[i] = again = true;
			if (!count)
				return;
		}
	}
	for (size_t i = 0; i < table->column_count; i++) {
		size_t share;

		if (done[i] || !layout->kept[i] || table->columns[i].cut == CUT_NEVER)
			continue;
		share = room / count--;
		room -= share;
		layout->width[i] = share > NARROWEST ? share : NARROWEST;
	}
}

static struct layout layout_of(const struct table *table, unsigned width)
{
	size_t columns = table->column_count, count, wanted, room;
	struct layout layout = { .kept = { false } };

	for (size_t i = 0; i < columns; i++) {
		layout.kept[i] = true;
		layout.width[i] = strlen(table->columns[i].title);
	}
	for (size_t i = 0; i < table->cells.count; i++) {
		size_t cell = clean_width(table->cells.items[i].text);

		if (cell > layout.width[i % columns])
			layout.width[i % columns] = cell;
	}
	do
		room = room_of(table, &layout, width, &count, &wanted);
	while (wanted > room && room < count * NARROW && drop_one(table, &layout));
	if (wanted > room)
		share_room(table, &layout, room, count);
	return layout;
}

static void put_cut(struct page *page, enum text_style style, const char *text, size_t width,
		    enum table_cut cut)
{
	size_t full = clean_width(text), head = 0, tail;
	_cleanup_free_ char *line = NULL;

	if (full <= width) {
		page_put(page, style, text);
		return;
	}
	if (cut == CUT_MIDDLE)
		head = (width - CUT_WIDTH + 1) / 2;
	tail = width - CUT_WIDTH - head;
	if (asprintf(&line, "%.*s" CUT "%s", (int)clean_prefix(text, head), text,
		     text + clean_prefix(text, full - tail)) < 0) {
		line = NULL;
		page->error = -ENOMEM;
		return;
	}
	page_put(page, style, line);
}

/* One row, or with NULL the titles; nothing stands behind the last cell. */
static void put_row(struct page *page, const struct table *table, const struct layout *layout,
		    const struct table_cell *cells)
{
	size_t owed = 0;

	for (size_t i = 0; i < table->column_count; i++) {
		const struct table_column *column = &table->columns[i];
		const char *text = cells ? cells[i].text : column->title;
		size_t used = clean_width(text), left;

		if (!layout->kept[i])
			continue;
		used = used < layout->width[i] ? used : layout->width[i];
		left = layout->width[i] - used;
		owed += gap_before(table, layout, i) + (column->right ? left : 0);
		if (used) {
			fprintf(page->out, "%*s", (int)owed, "");
			owed = 0;
			put_cut(page, cells ? cells[i].style : STYLE_DIM, text,
				layout->width[i], column->cut);
		}
		owed += column->right ? 0 : left;
	}
	putc('\n', page->out);
}

void table_end(struct page *page, struct table *table)
{
	size_t columns = table->column_count;
	struct layout layout;

	if (table->error) {
		page->error = table->error;
	} else if (table->cells.count) {
		layout = layout_of(table, page->width);
		put_row(page, table, &layout, NULL);
		for (size_t i = 0; i + columns <= table->cells.count; i += columns)
			put_row(page, table, &layout, &table->cells.items[i]);
	}
	for (size_t i = 0; i < table->cells.count; i++)
		free(table->cells.items[i].text);
	free(table->cells.items);
	*table = (struct table){ 0 };
}
