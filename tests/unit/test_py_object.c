// SPDX-License-Identifier: Apache-2.0
/* Objects of a live CPython over hand-made memory, whole, torn and hostile, in every layout. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "py_image.h"

static void check_strings(void)
{
	static const uint16_t wide[] = { 0x3a9, 'x', 0xdc80, 0x20ac };
	static const uint32_t wider[] = { 'a', 0x1f600 }, torn[] = { 0x110000 };
	uint64_t s = string("abc"), sub, data, flagless;
	char buffer[64];

	assert_int_equal(py_string(&py, s, buffer, sizeof(buffer)), 3);
	assert_string_equal(buffer, "abc");
	assert_int_equal(py_string(&py, s, buffer, 3), 2);
	assert_string_equal(buffer, "ab");
	assert_int_equal(py_string(&py, s, buffer, 1), 0);
	assert_int_equal(py_string(&py, s, buffer, 0), -EINVAL);
	assert_ptr_equal(py_string_intern(&py, s), py_string_intern(&py, string("abc")));

	assert_int_equal(py_string(&py, string_of("\xe9t\xe9", 3, 1, false), buffer, 64), 5);
	assert_string_equal(buffer, "\xc3\xa9t\xc3\xa9");
	assert_int_equal(py_string(&py, string_of(wide, 4, 2, false), buffer, 64), 9);
	assert_string_equal(buffer, "\xce\xa9x\xef\xbf\xbd\xe2\x82\xac");
	assert_int_equal(py_string(&py, string_of(wider, 2, 4, false), buffer, 64), 5);
	assert_string_equal(buffer, "a\xf0\x9f\x98\x80");
	/* A character is never cut. */
	assert_int_equal(py_string(&py, string_of(wider, 2, 4, false), buffer, 5), 1);
	assert_int_equal(py_string(&py, string_of(torn, 1, 4, false), buffer, 64), -EPROTO);

	/* An instance of a subclass keeps its text elsewhere. */
	sub = string_of("", 0, 1, false);
	data = text("elsewhere");
	put64(sub + layout.unicode_length, 9);
	put32(sub + layout.unicode_state, 1u << 2 | 1u << 6);
	put64(sub + layout.unicode_data, data);
	assert_int_equal(py_string(&py, sub, buffer, 64), 9);
	assert_string_equal(buffer, "elsewhere");

	strcpy(buffer, "untouched");
	put64(sub + layout.unicode_data, 0xdead0000);
	assert_int_equal(py_string(&py, sub, buffer, 64), -EFAULT);
	put32(s + layout.unicode_state, 3u << 2 | 1u << 5);
	assert_int_equal(py_string(&py, s, buffer, 64), -EPROTO);
	s = string("huge");
	put64(s + layout.unicode_length, UINT64_MAX);
	assert_int_equal(py_string(&py, s, buffer, 64), -EPROTO);
	flagless = string("int in disguise");
	put64(flagless + layout.ob_type, t_int);
	assert_int_equal(py_string(&py, flagless, buffer, 64), -EPROTO);
	assert_int_equal(py_string(&py, 0, buffer, 64), -EFAULT);
	assert_int_equal(py_string(&py, UINT64_MAX - 7, buffer, 64), -EFAULT);
	assert_string_equal(buffer, "untouched");
	assert_null(py_string_intern(&py, flagless));
}

static void check_integers(void)
{
	int64_t value = 77;
	uint64_t torn;

	assert_int_equal(py_long(&py, integer(false, 0, 0, 0, 0), &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(py_long(&py, integer(true, 1, 5, 0, 0), &value), 0);
	assert_int_equal(value, -5);
	assert_int_equal(py_long(&py, integer(false, 2, 1, 1, 0), &value), 0);
	assert_int_equal(value, (1ll << 30) + 1);
	assert_int_equal(py_long(&py, integer(false, 3, 0x3fffffff, 0x3fffffff, 7), &value), 0);
	assert_true(value == INT64_MAX);
	assert_int_equal(py_long(&py, integer(true, 3, 0, 0, 8), &value), 0);
	assert_true(value == INT64_MIN);
	value = 77;
	assert_int_equal(py_long(&py, integer(false, 3, 0, 0, 8), &value), -ERANGE);
	assert_int_equal(py_long(&py, integer(false, 1000, 0, 0, 0), &value), -ERANGE);
	assert_int_equal(py_long(&py, integer(false, 1, 1u << 31, 0, 0), &value), -EPROTO);
	assert_int_equal(py_long(&py, string("1"), &value), -EPROTO);
	torn = integer(false, 1, 1, 0, 0);
	put64(torn + layout.ob_type, 0x7);
	assert_int_equal(py_long(&py, torn, &value), -EFAULT);
	assert_int_equal(value, 77);
}

static void check_sequences(void)
{
	uint64_t items[] = { 11, 22, 33 }, t = tuple(items, 3), l = get(64), b = get(64), item = 7;
	char buffer[4] = "";

	assert_int_equal(py_sequence_size(&py, t), 3);
	assert_int_equal(py_sequence_item(&py, t, 2, &item), 0);
	assert_int_equal(item, 33);
	assert_int_equal(py_sequence_item(&py, t, 3, &item), -ENOENT);
	put64(l + layout.ob_type, t_list);
	assert_int_equal(py_sequence_size(&py, l), 0);
	put64(l + layout.var_size, 2);
	put64(l + layout.list_items, t + layout.tuple_items);
	assert_int_equal(py_sequence_item(&py, l, 1, &item), 0);
	assert_int_equal(item, 22);
	put64(l + layout.list_items, 8);
	assert_int_equal(py_sequence_item(&py, l, 1, &item), -EFAULT);
	assert_int_equal(item, 22);
	put64(l + layout.var_size, PY_MAX_ITEMS + 1);
	assert_int_equal(py_sequence_size(&py, l), -E2BIG);
	put64(l + layout.var_size, UINT64_MAX);
	assert_true(py_sequence_size(&py, l) < 0);
	assert_int_equal(py_sequence_size(&py, string("no")), -EPROTO);

	put64(b + layout.ob_type, t_bytes);
	put64(b + layout.var_size, 6);
	memcpy(arena + (b + layout.bytes_data - BASE), "a\0cdef", 6);
	assert_int_equal(py_bytes(&py, b, buffer, sizeof(buffer)), 6);
	assert_memory_equal(buffer, "a\0cd", 4);
	put64(b + layout.var_size, UINT64_MAX);
	assert_int_equal(py_bytes(&py, b, buffer, sizeof(buffer)), -EPROTO);
	assert_int_equal(py_bytes(&py, t, buffer, sizeof(buffer)), -EPROTO);
}

static int count_entries(void *context, uint64_t key, uint64_t value)
{
	(void)key;
	(void)value;
	++*(int *)context;
	return 0;
}

static int stop_at_second(void *context, uint64_t key, uint64_t value)
{
	(void)key;
	(void)value;
	return ++*(int *)context == 2 ? 42 : 0;
}

static void check_dicts(void)
{
	uint64_t table, d, value = 7;
	unsigned kind;
	int n;

	for (kind = 0; kind < 3; kind++) {
		table = keys(kind, 3, 4);
		put_entry(table, kind, 3, 0, string("one"), 101);
		put_entry(table, kind, 3, 1, string("gone"), 0);
		put_entry(table, kind, 3, 2, string("two"), 102);
		put_entry(table, kind, 3, 3, 0, 0);
		d = dict(table, kind == 2 ? values_at(get(64), 201, 0) : 0);
		n = 0;
		assert_int_equal(py_dict_walk(&py, d, count_entries, &n), 0);
		/* Of the split table only the first value is set. */
		assert_int_equal(n, kind == 2 ? 1 : 2);
		assert_int_equal(py_dict_get(&py, d, "one", &value), 0);
		assert_int_equal(value, kind == 2 ? 201 : 101);
		assert_int_equal(py_dict_get(&py, d, "gone", &value), -ENOENT);
		assert_int_equal(py_dict_get(&py, d, "on", &value), -ENOENT);
		assert_int_equal(py_dict_get(&py, d, "", &value), -ENOENT);
		if (kind == 2)
			continue;
		n = 0;
		assert_int_equal(py_dict_walk(&py, d, stop_at_second, &n), 42);
		/* Torn: the kind of the table and the place of the values differ. */
		put64(d + layout.dict_values, d);
		assert_int_equal(py_dict_walk(&py, d, count_entries, &n), -EPROTO);
	}
}

static void check_hostile_dicts(void)
{
	uint64_t table = keys(1, 3, 2), d = dict(table, 0), value = 7;
	int n = 0;

	/* A dictionary that holds itself, as key and as value. */
	put_entry(table, 1, 3, 0, d, d);
	put_entry(table, 1, 3, 1, string("self"), d);
	assert_int_equal(py_dict_walk(&py, d, count_entries, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(py_path(&py, d, "self.self", &value), -ENOENT);
	assert_int_equal(py_dict_get(&py, d, "self", &value), 0);
	assert_int_equal(value, d);

	value = 7;
	put8(table + layout.keys_kind, 9);
	assert_int_equal(py_dict_get(&py, d, "self", &value), -EPROTO);
	put8(table + layout.keys_kind, 1);
	put8(table + layout.keys_log2_index_bytes, 63);
	assert_int_equal(py_dict_get(&py, d, "self", &value), -EPROTO);
	put8(table + layout.keys_log2_index_bytes, 3);
	put64(table + layout.keys_nentries, 9);
	assert_int_equal(py_dict_get(&py, d, "self", &value), -EPROTO);
	put64(table + layout.keys_nentries, UINT64_MAX);
	assert_int_equal(py_dict_get(&py, d, "self", &value), -EPROTO);
	put8(table + layout.keys_log2_size, 20);
	put64(table + layout.keys_nentries, 1u << 20);
	assert_int_equal(py_dict_get(&py, d, "self", &value), -E2BIG);
	/* More entries than memory has. */
	put64(table + layout.keys_nentries, PY_MAX_ITEMS);
	put8(table + layout.keys_log2_index_bytes, 22);
	assert_int_equal(py_dict_get(&py, d, "self", &value), -EFAULT);
	put64(d + layout.dict_keys, 0);
	assert_int_equal(py_dict_get(&py, d, "self", &value), -EFAULT);
	assert_int_equal(py_dict_get(&py, string("x"), "self", &value), -EPROTO);
	assert_int_equal(py_dict_get(&py, 0, "self", &value), -EFAULT);
	assert_int_equal(value, 7);
}

static void check_sets(void)
{
	uint64_t s = object_of(t_set, 0, 64), table = get(8 * 16);
	int n = 0;

	put64(s + layout.set_mask, 7);
	put64(s + layout.set_table, table);
	put64(table, 100);
	put64(table + 16, 200);
	put64(table + 24, UINT64_MAX);	/* deleted */
	put64(table + 7 * 16, 300);
	assert_int_equal(py_set_walk(&py, s, count_entries, &n), 0);
	assert_int_equal(n, 2);
	n = 0;
	assert_int_equal(py_set_walk(&py, s, stop_at_second, &n), 42);
	put64(s + layout.set_mask, 6);
	assert_int_equal(py_set_walk(&py, s, count_entries, &n), -EPROTO);
	put64(s + layout.set_mask, UINT64_MAX);
	assert_true(py_set_walk(&py, s, count_entries, &n) < 0);
	put64(s + layout.set_mask, (1ull << 40) - 1);
	assert_int_equal(py_set_walk(&py, s, count_entries, &n), -E2BIG);
	assert_int_equal(py_set_walk(&py, string("x"), count_entries, &n), -EPROTO);
}

/* An instance of a class with two shared keys, `name` and `later`. */
static uint64_t managed(uint64_t *ret_class)
{
	uint64_t table = keys(2, 3, 2), of, o;

	of = type("App", F_HEAP | F_MANAGED | (layout.managed_dict == LS_DICT_INLINE ?
					       F_INLINE : 0), 0);
	put_entry(table, 2, 3, 0, string("later"), 0);
	put_entry(table, 2, 3, 1, string("name"), 0);
	put64(of + layout.type_cached_keys, table);
	put64(of + layout.type_dict, dict_of_one("klass", 900));
	o = object_of(of, 32, 64);
	if (layout.managed_dict == LS_DICT_VALUES_PTR)
		put64(o - 32, values_at(get(64), 0, 501));
	else if (layout.managed_dict == LS_DICT_TAGGED)
		put64(o - 24, values_at(get(64), 0, 501) - 1);
	else
		values_at(o + 16, 0, 501);
	*ret_class = of;
	return o;
}

static void check_instances(void)
{
	uint64_t of, o = managed(&of), value = 7;
	uint32_t index = 7;

	assert_int_equal(py_attribute(&py, o, "name", &value), 0);
	assert_int_equal(value, 501);
	assert_int_equal(py_attribute(&py, o, "later", &value), -ENOENT);
	assert_int_equal(py_attribute(&py, o, "klass", &value), 0);
	assert_int_equal(value, 900);
	assert_int_equal(py_instance_attribute(&py, o, "klass", &value), -ENOENT);
	assert_int_equal(py_attribute(&py, of, "klass", &value), 0);
	assert_int_equal(py_type_shared_index(&py, of, "name", &index), 0);
	assert_int_equal(index, 1);
	assert_int_equal(py_type_shared_index(&py, of, "other", &index), -ENOENT);
	assert_int_equal(py_type_shared_index(&py, t_str, "name", &index), -ENOENT);

	/* Moved to a dictionary. */
	if (layout.managed_dict == LS_DICT_VALUES_PTR)
		put64(o - 32, 0);
	else if (layout.managed_dict == LS_DICT_INLINE)
		put8(o + 16 + layout.values_valid, 0);
	put64(o - 24, dict_of_one("name", o));
	assert_int_equal(py_attribute(&py, o, "name", &value), 0);
	assert_int_equal(value, o);
	assert_int_equal(py_path(&py, o, "name.name.name", &value), 0);
	assert_int_equal(value, o);
	assert_int_equal(py_path(&py, o, "name..name", &value), -EINVAL);
	assert_int_equal(py_path(&py, o, "", &value), -EINVAL);
	assert_int_equal(py_path(&py, o, "name.name.name.name.name.name.name.name.name.name."
				 "name.name.name.name.name.name.name", &value), -E2BIG);

	/* Keys that were freed and reused meanwhile. */
	put64(o - 24, o);
	assert_int_equal(py_attribute(&py, o, "name", &value), -EPROTO);
}

static void check_plain_instances(void)
{
	uint64_t of = type("Plain", F_HEAP, 0), o = object_of(of, 0, 256), value = 7, member;
	uint32_t offset = 7;

	put64(of + layout.type_dictoffset, 24);
	put64(o + 24, dict_of_one("tag", 41));
	assert_int_equal(py_attribute(&py, o, "tag", &value), 0);
	assert_int_equal(value, 41);

	/* Counted from the end of an object of variable size. */
	put64(of + layout.type_dictoffset, (uint64_t)-8);
	put64(of + layout.type_basicsize, 32);
	put64(of + layout.type_itemsize, 8);
	put64(o + layout.var_size, 3);
	put64(o + 48, dict_of_one("tag", 42));
	assert_int_equal(py_attribute(&py, o, "tag", &value), 0);
	assert_int_equal(value, 42);
	put64(o + layout.var_size, 1ull << 60);
	assert_int_equal(py_attribute(&py, o, "tag", &value), -EPROTO);
	put64(of + layout.type_dictoffset, 1ull << 40);
	assert_int_equal(py_attribute(&py, o, "tag", &value), -EPROTO);

	/* __slots__ */
	put64(of + layout.type_dictoffset, 0);
	member = object_of(t_member, 0, 64);
	put64(member + layout.member_descr_member, get(64));
	put64(of + layout.type_dict, dict_of_one("slot", member));
	member += layout.member_descr_member;
	memcpy(&member, arena + (member - BASE), sizeof(member));
	put32(member + 8, 16);
	put64(member + layout.member_def_offset, 64);
	assert_int_equal(py_instance_attribute(&py, o, "slot", &value), -ENOENT);
	put64(o + 64, 43);
	assert_int_equal(py_instance_attribute(&py, o, "slot", &value), 0);
	assert_int_equal(value, 43);
	assert_int_equal(py_type_slot_offset(&py, of, "slot", &offset), 0);
	assert_int_equal(offset, 64);
	put64(member + layout.member_def_offset, 1ull << 32);
	assert_int_equal(py_instance_attribute(&py, o, "slot", &value), -EPROTO);
	put32(member + 8, 1);	/* an int in C, no object */
	assert_int_equal(py_type_slot_offset(&py, of, "slot", &offset), -ENOENT);
	assert_int_equal(offset, 64);
}

static void check_types(void)
{
	uint64_t base = type("Base", F_HEAP, 0), of = type("Derived", F_HEAP, base), value = 7;
	uint64_t many[PY_MAX_BASES + 1] = { 0 };
	char name[8];

	put64(base + layout.type_dict, dict_of_one("inherited", 1));
	assert_int_equal(py_type_attribute(&py, of, "inherited", &value), 0);
	assert_int_equal(value, 1);
	assert_int_equal(py_type_name(&py, of, name, sizeof(name)), 0);
	assert_string_equal(name, "Derived");
	assert_true(py_is(&py, object_of(of, 0, 16), "Derived"));
	assert_false(py_is(&py, object_of(of, 0, 16), "Base"));
	assert_false(py_is(&py, 0, "Base"));

	/* Bases in a circle, an order that is endless, none, or no tuple. */
	put64(of + layout.type_mro, 0);
	assert_int_equal(py_type_attribute(&py, of, "inherited", &value), 0);
	put64(base + layout.type_base, of);
	assert_int_equal(py_type_attribute(&py, of, "other", &value), -E2BIG);
	put64(of + layout.type_mro, tuple(many, PY_MAX_BASES + 1));
	assert_int_equal(py_type_attribute(&py, of, "other", &value), -E2BIG);
	put64(of + layout.type_mro, tuple(many, 2));
	assert_int_equal(py_type_attribute(&py, of, "other", &value), -EFAULT);
	put64(of + layout.type_mro, of);
	assert_int_equal(py_type_attribute(&py, of, "other", &value), -EPROTO);
	assert_int_equal(value, 1);
}

static void check_code(void)
{
	uint64_t t_code = type("code", 0, 0), t_function = type("function", 0, 0);
	uint64_t t_method = type("method", 0, 0), t_partial = type("functools.partial", 0, 0);
	uint64_t t_static = type("staticmethod", 0, 0);
	uint64_t outer = object_of(t_code, 0, 256), inner = object_of(t_code, 0, 256);
	uint64_t f = object_of(t_function, 0, 128), m = object_of(t_method, 0, 64);
	uint64_t p = object_of(t_partial, 0, 64), s = object_of(t_static, 0, 64), code = 7;
	uint64_t names[] = { string("self"), string("scope") };
	uint64_t consts[] = { 0, string("inner"), 0xdead0000, inner };
	uint32_t index = 7;

	put64(outer + layout.code_localsplusnames, tuple(names, 2));
	put64(outer + layout.code_consts, tuple(consts, 4));
	put64(inner + layout.code_name, string("inner"));
	put64(inner + layout.code_consts, tuple(consts, 0));
	assert_int_equal(py_code_local(&py, outer, "scope", &index), 0);
	assert_int_equal(index, 1);
	assert_int_equal(py_code_local(&py, outer, "scop", &index), -ENOENT);
	assert_int_equal(py_code_nested(&py, outer, "inner", &code), 0);
	assert_int_equal(code, inner);
	assert_int_equal(py_code_nested(&py, inner, "inner", &code), -ENOENT);

	put64(f + layout.function_code, outer);
	put64(m + layout.method_func, f);
	put64(p + layout.partial_fn, m);
	put64(s + 16, p);
	assert_int_equal(py_callable_code(&py, s, &code), 0);
	assert_int_equal(code, outer);
	put64(p + layout.partial_fn, s);
	assert_int_equal(py_callable_code(&py, s, &code), -E2BIG);
	assert_int_equal(py_callable_code(&py, outer, &code), -ENOENT);
	put64(f + layout.function_code, f);
	assert_int_equal(py_callable_code(&py, f, &code), -EPROTO);
	assert_int_equal(code, outer);
}

static void check_modules(void)
{
	uint64_t interp = get(16384), t_module = type("module", 0, 0);
	uint64_t module = object_of(t_module, 0, 64), value = 7;

	assert_int_equal(py_module(&py, interp, "os", &value), -ENOENT);
	put64(interp + layout.interp_modules, dict_of_one("os", module));
	put64(module + layout.module_dict, dict_of_one("sep", 5));
	assert_int_equal(py_module(&py, interp, "os", &value), 0);
	assert_int_equal(value, module);
	assert_int_equal(py_module_attribute(&py, module, "sep", &value), 0);
	assert_int_equal(value, 5);
	assert_int_equal(py_module(&py, interp, "sys", &value), -ENOENT);
	put64(module + layout.module_dict, 0);
	assert_int_equal(py_module_attribute(&py, module, "sep", &value), -EFAULT);
}

/* Every read of an object graph with random bytes in it ends. */
static void test_noise(void **state)
{
	uint64_t of, o, value, random = 88172645463325252ull;
	char buffer[256];
	int64_t number;
	uint32_t index;
	int round, flips, n;

	(void)state;
	for (round = 0; round < 400; round++) {
		build(&py_layouts[round % py_layout_count]);
		o = managed(&of);
		for (flips = 0; flips < 24; flips++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			arena[4096 + random % (used - 4096)] = (uint8_t)(random >> 40);
		}
		n = 0;
		(void)py_attribute(&py, o, "name", &value);
		(void)py_attribute(&py, of, "klass", &value);
		(void)py_path(&py, o, "klass.name", &value);
		(void)py_type_slot_offset(&py, of, "klass", &index);
		for (value = BASE + 4096; value < BASE + used; value += 208) {
			(void)py_string(&py, value, buffer, sizeof(buffer));
			(void)py_long(&py, value, &number);
			(void)py_dict_walk(&py, value, count_entries, &n);
			(void)py_set_walk(&py, value, count_entries, &n);
			(void)py_sequence_size(&py, value);
		}
	}
}

#define FOR_EACH_LAYOUT(name)                                            \
	static void test_##name(void **state)                            \
	{                                                                \
		(void)state;                                             \
		each_layout(check_##name);                               \
	}
FOR_EACH_LAYOUT(strings)
FOR_EACH_LAYOUT(integers)
FOR_EACH_LAYOUT(sequences)
FOR_EACH_LAYOUT(dicts)
FOR_EACH_LAYOUT(hostile_dicts)
FOR_EACH_LAYOUT(sets)
FOR_EACH_LAYOUT(instances)
FOR_EACH_LAYOUT(plain_instances)
FOR_EACH_LAYOUT(types)
FOR_EACH_LAYOUT(code)
FOR_EACH_LAYOUT(modules)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_dicts),
		cmocka_unit_test(test_hostile_dicts),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_instances),
		cmocka_unit_test(test_plain_instances),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_code),
		cmocka_unit_test(test_modules),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
