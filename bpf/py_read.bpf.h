/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading CPython objects.  Compiles for the host as well: there the includer
 * defines ls_read_user() and ls_code_role() over a memory image and includes
 * no kernel header.
 */
#ifndef LS_PY_READ_BPF_H
#define LS_PY_READ_BPF_H

#include "scratch.h"

/*
 * On the kernel side the larger functions are global ones, which the verifier
 * checks once and not at every call; they find their scratch space again by its
 * number (python.bpf.c).  On the host they are called as they are.
 */
#ifdef __bpf__
#define ls_read_user(to, size, address) \
	bpf_probe_read_user((to), (size), (const void *)(address))
int global_key_of(__u32 context, __u64 object);
int global_dict_find(__u32 context, __u64 dict, __u32 key);
int global_keys_find(__u32 context, __u64 keys, __u32 key);
int global_follow(__u32 context, __u64 code, __u64 frame, __u64 start);
int global_awaiter_of(__u32 context, __u64 node);
int global_task_serial(__u32 context, __u64 name, __u32 copy);
int global_scope_read(__u32 context);
int global_scope_key(__u32 context, __u32 i, __u64 key);
int global_current_task(__u32 context);
int global_current_entry(__u32 context, __u64 loop, __u64 task);
int global_frames_walk(__u32 context);
int global_frames_near(__u32 context, __u32 limit);
int global_message_read(__u32 context);
int global_callable_code(__u32 context, __u64 callable);
int global_frame_step(__u32 context);
int global_request_find(__u32 context, __u64 task);
int global_request_task(__u32 context, __u64 task);
#define KEY_OF(s, config, object) ((__u32)global_key_of((s)->walk.context, (object)))
#define DICT_FIND(s, config, dict, key) global_dict_find((s)->walk.context, (dict), (key))
#define KEYS_FIND(s, config, keys, key) global_keys_find((s)->walk.context, (keys), (key))
#define FOLLOW(s, config, code, frame, start) \
	global_follow((s)->walk.context, (code), (frame), (start))
#define AWAITER_OF(s, config, node) global_awaiter_of((s)->walk.context, (node))
#define TASK_SERIAL(s, config, name, copy) \
	global_task_serial((s)->walk.context, (name), (copy))
#define SCOPE_READ(s, config) global_scope_read((s)->walk.context)
#define SCOPE_KEY(s, config, i, key) ((__u32)global_scope_key((s)->walk.context, (i), (key)))
#define REQUEST_TASK(s, config, task) global_request_task((s)->walk.context, (task))
#define CURRENT_ENTRY(s, loop, task) \
	global_current_entry((s)->walk.context, (loop), (task))
#define FRAME_STEP(s, config) global_frame_step((s)->walk.context)
#else
#define FRAME_STEP frame_step
#define CURRENT_ENTRY current_entry
#define REQUEST_TASK request_task
#define KEY_OF key_of
#define DICT_FIND dict_find
#define KEYS_FIND keys_find
#define FOLLOW follow
#define AWAITER_OF awaiter_of
#define TASK_SERIAL task_serial
#define SCOPE_READ scope_read
#define SCOPE_KEY scope_key
#endif

/* 0 and *value, or non-zero and *value untouched by meaning (0). */
static __always_inline long read_u64(__u64 address, __u64 *value)
{
	*value = 0;
	return ls_read_user(value, sizeof(*value), address);
}

static __always_inline long read_u32(__u64 address, __u32 *value)
{
	*value = 0;
	return ls_read_user(value, sizeof(*value), address);
}

static __always_inline __u64 type_of(const struct process_config *config, __u64 object)
{
	__u64 type;

	if (!object || read_u64(object + config->layout.ob_type, &type))
		return 0;
	return type;
}

/* A field of a buffer at an offset that the verifier cannot know. */
static __always_inline __u64 field_u64(const __u8 *buffer, __u32 offset)
{
	return *(const __u64 *)(buffer + (offset & 0x78));
}

static __always_inline __u32 field_u32(const __u8 *buffer, __u32 offset)
{
	return *(const __u32 *)(buffer + (offset & 0x7c));
}

/*
 * A read costs far more than its bytes: more is read at once than is sure to be
 * there, and only behind the last object of a mapping that is one read too many.
 */
#define KEY_HEAD_BYTES 48	/* of a str, int, tuple or dict */
#define KEY_BYTES 80	/* the same and, of a str, KEY_TEXT_BYTES at least */
#define KEY_TEXT_BYTES 32

/* Reads the beginning of an object to s->key. */
static __always_inline long key_load(struct scratch *s, __u64 object)
{
	s->walk.text_bytes = 0;
	if (!object)
		return -1;
	if (ls_read_user(s->key, KEY_BYTES, object))
		return ls_read_user(s->key, KEY_HEAD_BYTES, object);
	s->walk.text_bytes = KEY_TEXT_BYTES;
	return 0;
}

static __always_inline __u64 loaded_u64(const struct scratch *s, __u32 offset)
{
	return field_u64(s->key, offset);
}

static __always_inline __u32 loaded_u32(const struct scratch *s, __u32 offset)
{
	return field_u32(s->key, offset);
}

#define OBJECT_BYTES 192	/* of a task; of a coroutine with some local variables */

/* Reads a task or coroutine to s->object. */
static __always_inline void object_hold(struct scratch *s, __u64 object)
{
	s->walk.held = 0;
	if (object && !ls_read_user(s->object, OBJECT_BYTES, object))
		s->walk.held = object;
}

/* A word of an object, without another read when it is held; 0: it cannot be read. */
static __always_inline __u64 held_u64(const struct scratch *s, __u64 address)
{
	__u64 offset = address - s->walk.held, value;

	if (s->walk.held && offset <= OBJECT_BYTES - 8)
		return *(const __u64 *)(s->object + (offset & 0xff));
	read_u64(address, &value);
	return value;
}

/* Copies the text of the str in s->key, `length` bytes of it, to `size` bytes of zeroed words. */
static __always_inline long text_take(struct scratch *s, const struct process_config *config,
				      __u64 object, __u64 *to, __u32 length, __u32 size)
{
	__u32 at = config->layout.unicode_ascii;

	if (length > s->walk.text_bytes)
		return length <= size ? ls_read_user(to, length, object + at) : -1;
	for (__u32 i = 0; i < KEY_TEXT_BYTES / 8 && 8 * i < size; i++) {
		if (8 * i >= length)
			break;
		to[i] = loaded_u64(s, at + 8 * i);
		if (length - 8 * i < 8)
			to[i] &= (1ull << (8 * (length & 7))) - 1;
	}
	return 0;
}

static __always_inline __u64 untag(const struct process_config *config, __u64 reference)
{
	return reference & ~(__u64)config->layout.stackref_tags;
}

/* Length and first 16 bytes of each key that is looked for, little endian. */
static __always_inline __u64 key_word(const char *text, __u32 length, __u32 from)
{
	__u64 word = 0;

#ifdef __bpf__
#pragma unroll
#endif
	for (__u32 i = 0; i < 8; i++)
		if (from + i < length)
			word |= (__u64)(__u8)text[from + i] << (8 * i);
	return word;
}

static __always_inline int key_is(__u64 length, __u64 first, __u64 second, const char *text,
				  __u32 size)
{
	return length == size && first == key_word(text, size, 0) &&
	       second == key_word(text, size, 8);
}

/* Which LS_KEY_* a str object is; LS_KEY_NONE for any other. */
static __always_inline __u32 key_of(struct scratch *s, const struct process_config *config,
				    __u64 object)
{
	__u64 length, first, second;
	__u32 data = config->layout.unicode_ascii - config->layout.unicode_length;

	if (!object || ls_read_user(s->key, 48,
				    object + config->layout.unicode_length))
		return LS_KEY_NONE;
	length = *(__u64 *)s->key;
	if (length > 31)
		return LS_KEY_NONE;
	first = *(__u64 *)(s->key + (data & 0x38));
	second = *(__u64 *)(s->key + (data & 0x38) + 8);
	if (length < 8)
		first &= (1ull << (length * 8)) - 1;
	if (length <= 8)
		second = 0;
	else if (length < 16)
		second &= (1ull << ((length - 8) * 8)) - 1;
#define X(id, text) \
	if (key_is(length, first, second, text, sizeof(text) - 1)) \
		return LS_KEY_##id;
	LS_KEYS(X)
#undef X
	return LS_KEY_NONE;
}

#define DICT_ENTRIES 40	/* entries of a dictionary that are looked at */

#define KEYS_HEAD_BYTES 32
#define KEYS_SMALL 160	/* of a keys object with few keys */
#define KEYS_SCOPE 512	/* of that of a scope */

/*
 * Reads the entry array of a keys object into s->table: s->walk.entries of
 * s->walk.entry_size bytes.  Values of split tables are not followed.  It needs
 * one read when the whole object has `ahead` bytes at most.
 */
static __always_inline long keys_load(struct scratch *s, const struct process_config *config,
				      __u64 keys, __u32 ahead)
{
	const struct py_layout *layout = &config->layout;
	__u8 log2_bytes, kind;
	__u64 count, size;
	__u32 at;

	s->walk.entries = 0;
	if (!keys)
		return -1;
	if (ls_read_user(s->table, ahead, keys)) {
		if (ls_read_user(s->table, KEYS_HEAD_BYTES, keys))
			return -1;
		ahead = KEYS_HEAD_BYTES;
	}
	log2_bytes = s->table[layout->keys_log2_index_bytes & 31];
	kind = s->table[layout->keys_kind & 31];
	count = *(__u64 *)(s->table + (layout->keys_nentries & 24));
	if (log2_bytes > 20 || count > DICT_ENTRIES)
		count = count > DICT_ENTRIES && log2_bytes <= 20 ? DICT_ENTRIES : 0;
	s->walk.entry_size = kind ? 16 : 24;
	at = layout->keys_indices + (1u << (log2_bytes & 31));
	size = count * s->walk.entry_size;
	asm volatile("" : "+r"(size)); /* the verifier does not know what the compiler does */
	s->walk.entries_at = at;
	if (size > SCRATCH_TABLE_BYTES - 64)
		return -1;
	if (size && (at > ahead || size > ahead - at)) {
		if (ls_read_user(s->table, size, keys + at))
			return -1;
		s->walk.entries_at = 0;
	}
	s->walk.entries = (__u32)count;
#ifdef __bpf__
	/*
	 * What was just written is read again: else the loops that follow would begin in
	 * their middle, and verifiers up to 6.1 know no way back but a jump.
	 */
	asm volatile("" ::: "memory");
#endif
	return 0;
}

/* The same for the keys of a dictionary. */
static __always_inline long dict_load(struct scratch *s, const struct process_config *config,
				      __u64 dict)
{
	__u64 keys;

	s->walk.entries = 0;
	if (!dict || read_u64(dict + config->layout.dict_keys, &keys))
		return -1;
	return keys_load(s, config, keys, KEYS_SMALL);
}

/* Key and value of entry `i` of the loaded dictionary: 16 bytes, or 24 behind a hash. */
static __always_inline __u64 entry_key(const struct scratch *s, __u32 i)
{
	__u32 at = s->walk.entries_at + (i + 1) * s->walk.entry_size - 16;

	return *(const __u64 *)(s->table + (at & 0x3f8));
}

static __always_inline __u64 entry_value(const struct scratch *s, __u32 i)
{
	__u32 at = s->walk.entries_at + (i + 1) * s->walk.entry_size - 8;

	return *(const __u64 *)(s->table + (at & 0x3f8));
}

/* s->walk.found = position of a key in a keys object, plus 1; 0 when it has none. */
static __always_inline int keys_find(struct scratch *s, const struct process_config *config,
				     __u64 keys, __u32 key)
{
	s->walk.found = 0;
	if (keys_load(s, config, keys, KEYS_SMALL))
		return 0;
	for (__u32 i = 0; i < DICT_ENTRIES; i++) {
		if (i >= s->walk.entries)
			break;
		if (KEY_OF(s, config, entry_key(s, i)) == key)
			s->walk.found = i + 1;
	}
	return 0;
}

/* s->walk.found = value of one key of a dictionary, 0 when it has none. */
static __always_inline int dict_find(struct scratch *s, const struct process_config *config,
				     __u64 dict, __u32 key)
{
	__u64 keys;

	s->walk.found = 0;
	if (!dict || read_u64(dict + config->layout.dict_keys, &keys))
		return 0;
	KEYS_FIND(s, config, keys, key);
	if (s->walk.found)
		s->walk.found = entry_value(s, (__u32)s->walk.found - 1);
	return 0;
}

#endif
