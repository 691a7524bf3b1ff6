/* SPDX-License-Identifier: Apache-2.0 */
/* Between code.c, which keeps code objects, and code_load.c, which reads them. */
#ifndef LS_CODE_CACHE_H
#define LS_CODE_CACHE_H

#include "base/mem.h"
#include "base/units.h"
#include "discover/py_object.h"
#include "resolve/code.h"

#define CODE_BATCH 32		/* code objects read with the same system calls */
#define CODE_MAX_FIXED 512	/* bytes of a code object up to its instructions */
#define CODE_TEXT_BYTES 256	/* most names and paths end within that many, header included */
#define CODE_TABLE_BYTES 512	/* and most line tables within these */
#define CODE_MAX_TABLE (4u << 20)
#define CODE_MAX_ENTRIES 65536
#define CODE_MAX_BYTES (64u << 20)	/* of names and line tables together */
#define CODE_RECENT 256		/* failures remembered; a power of two */
#define CODE_RECENT_NS NS_PER_S
#define CODE_FIRST_SLOTS 1024	/* a power of two */

enum { TEXT_FILE, TEXT_NAME, TEXT_QUALNAME, TEXT_COUNT };

/* What is taken of the fixed part of a code object; no padding, so that it can be compared. */
struct code_raw {
	uint64_t type, line_table;
	uint64_t text[TEXT_COUNT];
	uint32_t flags, first_line, first_traceable, check;
	uint64_t alive;	/* not freed yet */
};

/* A code object that is being read. */
struct pending {
	uint64_t address;
	uint32_t wanted;	/* check word of the event, 0: any */
	const struct code_info *result;	/* NULL until it is settled */
	struct code_info *loaded;	/* owned until then */
	struct code_raw raw;
	bool text_read[TEXT_COUNT], table_read;
	uint8_t fixed[CODE_MAX_FIXED];
	uint8_t text[TEXT_COUNT][CODE_TEXT_BYTES];
	uint8_t table[CODE_TABLE_BYTES];
};

struct slot {
	uint64_t address;
	struct code_info *info;	/* owned; NULL: free */
};

/* What could not be read is not tried again at once, and forgotten soon. */
struct recent {
	uint64_t address, until_ns;
	const struct code_info *info;
	uint32_t check;
};

struct code_cache {
	const struct py_reader *py;
	const struct code_options *options;
	size_t fixed_size;	/* 0: the layout cannot be right, nothing is read */
	uint64_t code_type;	/* address of the type "code" once it was seen */
	struct slot *slots;
	size_t slot_count, used;
	size_t bytes;		/* of CODE_MAX_BYTES */
	struct code_info unreadable, stale, not_code, too_many;
	struct recent recent[CODE_RECENT];
	struct pending pending[CODE_BATCH];
	size_t pending_count;
};

/* Bytes of a code object that hold all that is wanted; 0: the layout cannot be right. */
size_t code_fixed_size(const struct py_layout *layout);

/* Settles all that is pending, in three system calls when nothing is unusual. */
void code_load_pending(struct code_cache *cache);

/* What is known of this key: an entry or a failure that is remembered; else NULL. */
const struct code_info *code_cache_find(struct code_cache *cache, uint64_t address,
					uint32_t check);

bool code_cache_full(const struct code_cache *cache);

/* Settles one with a failure that is remembered for CODE_RECENT_NS. */
void code_settle_recent(struct code_cache *cache, struct pending *pending,
			const struct code_info *info);

/* Settles one with what was loaded, which moves into the table. */
void code_settle_loaded(struct code_cache *cache, struct pending *pending);

void code_info_free(struct code_info *info);

#endif
