// SPDX-License-Identifier: Apache-2.0
/* A flamegraph of the blocking time: plain SVG, no script, tooltips by <title>. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "detect/finding.h"
#include "export/clean.h"
#include "export/exporter.h"
#include "export/flame.h"
#include "export/formats.h"

/* Lengths in tenths of a pixel, so that no number is printed with a locale's comma. */
#define WIDTH 12000
#define MARGIN 100
#define INNER (WIDTH - 2 * MARGIN)
#define HEAD 700	/* title, subtitle, legend */
#define FOOT 160
#define ROW 180
#define BAR 170
#define NARROWEST 3	/* narrower frames are not drawn */
#define LETTER 67	/* advance of the font at 11 px */

#define TENTHS(value) (unsigned)(value) / 10, (unsigned)(value) % 10

/* Two tones each: neighbours of one class stay apart. */
static const struct {
	const char *text, *fill[2];
} class_styles[] = {
	[FLAME_IO] = { "blocking I/O and sleep", { "#6fa8dc", "#8cbbe6" } },
	[FLAME_CPU] = { "CPU", { "#f0986a", "#f5ad86" } },
	[FLAME_GC] = { "garbage collection", { "#9ccc7a", "#b0d894" } },
	[FLAME_LOCK] = { "GIL and locks", { "#c39bd3", "#d0b0dd" } },
	[FLAME_MACHINE] = { "machine: no CPU, pages", { "#bfb6a8", "#cdc5b9" } },
};

struct canvas {
	FILE *out;
	const struct flame_node *root;
	unsigned height;
	unsigned hidden;	/* frames too narrow to draw */
};

static unsigned scale(const struct canvas *canvas, uint64_t ns)
{
	return (unsigned)((double)ns / (double)canvas->root->total_ns * INNER + 0.5);
}

static enum flame_class class_of(const struct flame_node *node)
{
	enum flame_class most = FLAME_IO;

	for (enum flame_class class = FLAME_IO; class < FLAME_CLASS_COUNT; class++)
		if (node->class_ns[class] > node->class_ns[most])
			most = class;
	return most;
}

/* Rows of frames that are wide enough, the root's included. */
static unsigned rows(const struct canvas *canvas, const struct flame_node *node)
{
	unsigned most = 0, below;

	for (const struct flame_node *child = node->child; child; child = child->next) {
		if (scale(canvas, child->total_ns) < NARROWEST)
			continue;
		below = rows(canvas, child);
		if (below > most)
			most = below;
	}
	return most + 1;
}

static void text_at(const struct canvas *canvas, unsigned x, unsigned y, const char *class,
		    const char *text)
{
	fprintf(canvas->out, "<text x=\"%u.%u\" y=\"%u.%u\"%s%s%s>", TENTHS(x), TENTHS(y),
		*class ? " class=\"" : "", class, *class ? "\"" : "");
	xml_escape(canvas->out, text);
	fputs("</text>\n", canvas->out);
}

/* As much of the name as the bar has room for; nothing below three letters. */
static void draw_label(const struct canvas *canvas, const struct flame_node *node, unsigned x,
		       unsigned y, unsigned width)
{
	size_t room = width > 60 ? (width - 60) / LETTER : 0;
	size_t kept = clean_prefix(node->name, room);

	if (room < 3)
		return;
	fprintf(canvas->out, "<text x=\"%u.%u\" y=\"%u.%u\">", TENTHS(x + 30), TENTHS(y + 125));
	if (node->name[kept]) {
		_cleanup_free_ char *cut = strndup(node->name, clean_prefix(node->name, room - 2));

		xml_escape(canvas->out, cut ? cut : "");
		fputs("..", canvas->out);
	} else {
		xml_escape(canvas->out, node->name);
	}
	fputs("</text>", canvas->out);
}

static void draw_node(struct canvas *canvas, const struct flame_node *node, uint64_t before,
		      unsigned depth)
{
	unsigned left = scale(canvas, before), width, y;
	char duration[32];

	if (scale(canvas, node->total_ns) < NARROWEST) {
		canvas->hidden++;
		return;
	}
	width = scale(canvas, before + node->total_ns) - left;
	y = canvas->height - FOOT - (depth + 1) * ROW;
	fputs("<g><title>", canvas->out);
	xml_escape(canvas->out, node->name);
	fprintf(canvas->out, "\n%s, %.1f %%</title>",
		format_duration(node->total_ns, duration, sizeof(duration)),
		(double)node->total_ns * 100 / (double)canvas->root->total_ns);
	fprintf(canvas->out, "<rect x=\"%u.%u\" y=\"%u.%u\" width=\"%u.%u\" height=\"%u.%u\" "
		"rx=\"1\" fill=\"%s\"/>", TENTHS(MARGIN + left), TENTHS(y), TENTHS(width),
		TENTHS(BAR), class_styles[class_of(node)].fill[depth & 1]);
	draw_label(canvas, node, MARGIN + left, y, width);
	fputs("</g>\n", canvas->out);
	for (const struct flame_node *child = node->child; child; child = child->next) {
		draw_node(canvas, child, before, depth + 1);
		before += child->total_ns;
	}
}

static void draw_legend(const struct canvas *canvas)
{
	unsigned x = MARGIN;

	for (enum flame_class class = FLAME_IO; class < FLAME_CLASS_COUNT; class++) {
		const char *text = class_styles[class].text;

		if (!canvas->root->class_ns[class])
			continue;
		fprintf(canvas->out, "<rect x=\"%u.%u\" y=\"52\" width=\"11\" height=\"11\" "
			"rx=\"1\" fill=\"%s\"/>", TENTHS(x), class_styles[class].fill[0]);
		text_at(canvas, x + 160, 615, "", text);
		x += 160 + (unsigned)clean_width(text) * LETTER + 200;
	}
}

/* "pid 1, 2 and 3 more: command line" */
static void describe_targets(FILE *out, const struct report *report)
{
	const char *cmdline = report->target_count ? report->targets[0].cmdline : NULL;

	for (size_t i = 0; i < report->target_count && i < 4; i++)
		fprintf(out, "%s%d", i ? ", " : "pid ", (int)report->targets[i].pid);
	if (report->target_count > 4)
		fprintf(out, " and %zu more", report->target_count - 4);
	if (cmdline)
		fprintf(out, ": %s", cmdline);
}

static int draw_head(const struct canvas *canvas, const struct report *report)
{
	_cleanup_free_ char *line = NULL, *clean = NULL;
	uint64_t length = report->end_ns > report->start_ns ? report->end_ns - report->start_ns : 0;
	char blocked[32], window[32], start[48], title[192];
	size_t size = 0;
	FILE *memory = open_memstream(&line, &size);

	if (!memory)
		return -ENOMEM;
	describe_targets(memory, report);
	if (fclose(memory))
		return -ENOMEM;
	clean = clean_text(line, CLEAN_PRINT);
	if (!clean)
		return -ENOMEM;
	if (clean_width(clean) > INNER / LETTER)
		clean[clean_prefix(clean, INNER / LETTER)] = '\0';
	snprintf(title, sizeof(title), "Event loop held for %s in %s from %s on",
		 format_duration(canvas->root->total_ns, blocked, sizeof(blocked)),
		 format_duration(length, window, sizeof(window)),
		 format_time(report->start_ns, start, sizeof(start)));
	text_at(canvas, MARGIN, 220, "title", title);
	text_at(canvas, MARGIN, 410, "", clean);
	draw_legend(canvas);
	return 0;
}

static int draw(struct canvas *canvas, const struct report *report)
{
	bool empty = !canvas->root->total_ns;
	int err;

	canvas->height = HEAD + FOOT + (empty ? 2 : rows(canvas, canvas->root)) * ROW;
	fprintf(canvas->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"viewBox=\"0 0 %u %u\">\n", WIDTH / 10, canvas->height / 10, WIDTH / 10,
		canvas->height / 10);
	fputs("<style>text { font: 11px \"DejaVu Sans Mono\", Menlo, Consolas, monospace; "
	      "fill: #1c1c1c; white-space: pre; } .title { font-size: 16px; font-weight: bold; } "
	      ".note { fill: #666; } g:hover rect { stroke: #000; stroke-width: 0.8; }</style>\n"
	      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", canvas->out);
	err = draw_head(canvas, report);
	if (err)
		return err;
	if (empty)
		text_at(canvas, MARGIN, HEAD + ROW, "", "Nothing held the event loop.");
	else
		draw_node(canvas, canvas->root, 0, 0);
	if (canvas->hidden) {
		char note[64];

		snprintf(note, sizeof(note), "%u frames are too narrow to be drawn.",
			 canvas->hidden);
		text_at(canvas, MARGIN, canvas->height - 40, "note", note);
	}
	fputs("</svg>\n", canvas->out);
	return ferror(canvas->out) ? -EIO : 0;
}

int svg_write(const struct report *report, const struct export_options *options, FILE *out)
{
	struct canvas canvas = { .out = out };
	struct flame_node *root;
	int err;

	err = flame_build(report, options, &root);
	if (err)
		return err;
	canvas.root = root;
	err = draw(&canvas, report);
	flame_free(root);
	return err;
}
