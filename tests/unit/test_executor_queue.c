// SPDX-License-Identifier: Apache-2.0
/* Queues of executors over hand-made memory in every layout. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "walk_image.h"

#include "resolve/executor_queue.h"

#define ROOM 8
#define RING 4

static uint64_t t_queue, t_item;

static bool is_ring(void)
{
	return layout.queue_list == LS_ABSENT;
}

static uint64_t queue_type(uint64_t size)
{
	uint64_t at = type("_queue.SimpleQueue", 0, 0);

	put64(at + layout.type_basicsize, size);
	return at;
}

/* Of items[first] on; a ring starts again at its beginning. */
static uint64_t queue_of(const uint64_t *items, uint64_t first, uint64_t count)
{
	uint64_t at = object_of(t_queue, 0, 80), data = get(8 * ROOM), list;

	for (uint64_t i = 0; i < count; i++)
		put64(data + 8 * (is_ring() ? (first + i) % RING : first + i), items[i]);
	if (is_ring()) {
		put64(at + layout.queue_get, first);
		put64(at + layout.queue_items, data);
		put64(at + layout.queue_capacity, RING);
		put64(at + layout.queue_count, count);
		return at;
	}
	list = object_of(t_list, 0, 64);
	put64(list + layout.var_size, first + count);
	put64(list + layout.list_items, data);
	put64(at + layout.queue_list, list);
	put64(at + layout.queue_position, first);
	return at;
}

/* A _WorkItem: its future is the second of its attributes. */
static uint64_t work_item(uint64_t future)
{
	uint64_t at = object_of(t_item, 32, 96), values;

	if (layout.managed_dict == LS_DICT_INLINE) {
		values_at(at + 32, 0, future);
		return at;
	}
	values = values_at(get(64), 0, future);
	if (layout.managed_dict == LS_DICT_TAGGED)
		put64(at - 24, values - 1);
	else
		put64(at - 32, values);
	return at;
}

static void set_up(void)
{
	uint64_t table = keys(2, 3, 2);

	t_queue = queue_type((is_ring() ? layout.queue_count : layout.queue_position) + 16u);
	t_item = type("_WorkItem", F_HEAP | F_MANAGED | F_INLINE, 0);
	put64(t_item + layout.type_basicsize, 32);
	put_entry(table, 2, 3, 0, string("fn"), 0);
	put_entry(table, 2, 3, 1, string("future"), 0);
	put64(t_item + layout.type_cached_keys, table);
}

static void check_items(void)
{
	const uint64_t three[] = { 0x100, 0x200, 0x300 };
	uint64_t got[ROOM], queue;
	int64_t length;

	set_up();
	/* a ring of four goes on at its beginning */
	queue = queue_of(three, 3, 3);
	assert_int_equal(executor_queue_items(&py, queue, got, ROOM, &length), 3);
	assert_int_equal(length, 3);
	assert_memory_equal(got, three, sizeof(three));
	assert_int_equal(executor_queue_items(&py, queue, got, 2, &length), 2);
	assert_int_equal(length, 3);
	assert_memory_equal(got, three + 1, 2 * sizeof(*three));
	assert_int_equal(executor_queue_items(&py, queue, NULL, 0, &length), 0);
	assert_int_equal(length, 3);
	assert_int_equal(executor_queue_items(&py, queue_of(NULL, 0, 0), got, ROOM, &length), 0);
	assert_int_equal(length, 0);
}

/* Its owner goes on while the items are read: they land in what says how many there are. */
static void check_torn(void)
{
	const uint64_t ring[] = { 2, 2, 2 }, list[] = { 1, 1 };
	uint64_t queue, said;
	int64_t length;

	set_up();
	queue = is_ring() ? queue_of(ring, 0, 1) : queue_of(list, 0, 2);
	said = queue + (is_ring() ? layout.queue_count : layout.queue_position);
	if (is_ring())
		put64(read64(queue + layout.queue_items) + 8, ring[1]);
	assert_int_equal(executor_queue_items(&py, queue, (uint64_t *)(arena + (said - BASE)), 1,
					      &length), 1);
	assert_int_equal(length, is_ring() ? 2 : 1);
}

static void check_what_cannot_be(void)
{
	const uint64_t one = 0x100;
	uint64_t got[ROOM], queue;
	int64_t length = 77;

	set_up();
	queue = queue_of(&one, 0, 1);
	if (is_ring())
		put64(queue + layout.queue_count, RING + 1);
	else
		put64(queue + layout.queue_position, 2);
	assert_int_equal(executor_queue_items(&py, queue, got, ROOM, &length), -EAGAIN);
	put64(queue + (is_ring() ? layout.queue_items : layout.queue_list), UNMAPPED);
	assert_int_equal(executor_queue_items(&py, queue, got, ROOM, &length), -EAGAIN);
	/* another struct, another kind of queue */
	t_queue = queue_type(200);
	assert_int_equal(executor_queue_items(&py, queue_of(&one, 0, 1), got, ROOM, &length),
			 -EPROTO);
	t_queue = type("queue.Queue", 0, 0);
	assert_int_equal(executor_queue_items(&py, queue_of(&one, 0, 1), got, ROOM, &length),
			 -ENOENT);
	assert_int_equal(length, 77);
}

static void check_futures(void)
{
	uint64_t items[5], none;

	set_up();
	none = object_of(type("NoneType", 0, 0), 0, 32);
	items[0] = none;
	items[1] = work_item(0x1110);
	items[2] = UNMAPPED;
	items[3] = work_item(0x2220);
	items[4] = work_item(0x3330);
	put64(items[4] + layout.ob_type, t_list);
	assert_int_equal(executor_queue_futures(&py, items, 5), 0);
	assert_int_equal(items[0], 0);
	assert_int_equal(items[1], 0x1110);
	assert_int_equal(items[2], 0);
	assert_int_equal(items[3], 0x2220);
	assert_int_equal(items[4], 0);
	items[0] = none;
	assert_int_equal(executor_queue_futures(&py, items, 1), -ENOENT);
}

static void test_items(void **state)
{
	(void)state;
	each_layout(check_items);
}

static void test_torn(void **state)
{
	(void)state;
	each_layout(check_torn);
}

static void test_what_cannot_be(void **state)
{
	(void)state;
	each_layout(check_what_cannot_be);
}

static void test_futures(void **state)
{
	(void)state;
	each_layout(check_futures);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_what_cannot_be),
		cmocka_unit_test(test_futures),
	};

	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
