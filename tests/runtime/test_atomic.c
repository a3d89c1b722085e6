/* SPDX-License-Identifier: MIT */
/*
 * Atomics, bits and shared words: each operation's value and result, and that it is exactly one schedule point of the
 * right kind on the right object. The cases are written once for the three counters.
 */
#include "runtime/scene.h"

#include <pagesim/atomic.h>
#include <pagesim/bitops.h>

struct ear {
	struct ps_listener listener;
	enum ps_point_kind kind;
	const void *obj;
	int heard;
};

static struct ear ear;

static void hear(struct ps_listener *listener, enum ps_point_kind kind, const void *obj)
{
	ear.kind = kind;
	ear.obj = obj;
	ear.heard++;
}

static int setup(void **state)
{
	scene_begin(NULL);
	ear = (struct ear){ .listener.step = hear };
	ps_runtime_listen(scene.rt, &ear.listener);
	ps_task_enter(scene_task("t", NULL, NULL));
	return 0;
}

static int teardown(void **state)
{
	ps_task_leave();
	scene_end();
	return 0;
}

/* The statement was one point of this kind on this object. */
#define ONE_POINT(kind_, obj_, statement)          \
	do {                                       \
		ear.heard = 0;                     \
		statement;                         \
		assert_int_equal(ear.heard, 1);    \
		assert_int_equal(ear.kind, kind_); \
		assert_ptr_equal(ear.obj, obj_);   \
	} while (0)

/* From `before`, the expression has this value and leaves the counter at `after`. */
#define OP(name, type, before, expr, value, after)                       \
	do {                                                             \
		name##_t v = { before };                                 \
		long long result;                                        \
		ONE_POINT(PS_POINT_RMW, &v, result = (long long)(expr)); \
		assert_int_equal(result, value);                         \
		assert_int_equal(v.counter, after);                      \
	} while (0)
/* The same for one without a value. */
#define VOID_OP(name, before, statement, after)         \
	do {                                            \
		name##_t v = { before };                \
		ONE_POINT(PS_POINT_RMW, &v, statement); \
		assert_int_equal(v.counter, after);     \
	} while (0)

#define ORDERED(name, type, suffix)                                                   \
	do {                                                                          \
		type old = 5;                                                         \
		OP(name, type, 5, name##_fetch_add##suffix(3, &v), 5, 8);             \
		OP(name, type, 5, name##_fetch_sub##suffix(3, &v), 5, 2);             \
		OP(name, type, 5, name##_add_return##suffix(3, &v), 8, 8);            \
		OP(name, type, 5, name##_sub_return##suffix(7, &v), -2, -2);          \
		OP(name, type, 5, name##_inc_return##suffix(&v), 6, 6);               \
		OP(name, type, 5, name##_dec_return##suffix(&v), 4, 4);               \
		OP(name, type, 5, name##_fetch_inc##suffix(&v), 5, 6);                \
		OP(name, type, 5, name##_fetch_dec##suffix(&v), 5, 4);                \
		OP(name, type, 5, name##_fetch_or##suffix(2, &v), 5, 7);              \
		OP(name, type, 5, name##_fetch_and##suffix(6, &v), 5, 4);             \
		OP(name, type, 5, name##_xchg##suffix(&v, 9), 5, 9);                  \
		OP(name, type, 5, name##_cmpxchg##suffix(&v, 5, 9), 5, 9);            \
		OP(name, type, 5, name##_cmpxchg##suffix(&v, 6, 9), 5, 5);            \
		OP(name, type, 5, name##_try_cmpxchg##suffix(&v, &old, 9), true, 9);  \
		assert_int_equal(old, 5);                                             \
		OP(name, type, 4, name##_try_cmpxchg##suffix(&v, &old, 9), false, 4); \
		assert_int_equal(old, 4);                                             \
	} while (0)

#define COUNTER_TEST(name, type)                                             \
	static void name##_does_what_linux_says(void **state)                \
	{                                                                    \
		name##_t c = { 7 };                                          \
		type got;                                                    \
                                                                             \
		ORDERED(name, type, );                                       \
		ORDERED(name, type, _relaxed);                               \
		ORDERED(name, type, _acquire);                               \
		ORDERED(name, type, _release);                               \
		ONE_POINT(PS_POINT_READ, &c, got = name##_read(&c));         \
		assert_int_equal(got, 7);                                    \
		ONE_POINT(PS_POINT_READ, &c, got = name##_read_acquire(&c)); \
		assert_int_equal(got, 7);                                    \
		ONE_POINT(PS_POINT_WRITE, &c, name##_set(&c, 8));            \
		assert_int_equal(c.counter, 8);                              \
		ONE_POINT(PS_POINT_WRITE, &c, name##_set_release(&c, 9));    \
		assert_int_equal(c.counter, 9);                              \
		VOID_OP(name, 5, name##_add(2, &v), 7);                      \
		VOID_OP(name, 5, name##_sub(2, &v), 3);                      \
		VOID_OP(name, 5, name##_inc(&v), 6);                         \
		VOID_OP(name, 5, name##_dec(&v), 4);                         \
		VOID_OP(name, 5, name##_or(2, &v), 7);                       \
		VOID_OP(name, 5, name##_and(4, &v), 4);                      \
		VOID_OP(name, 5, name##_andnot(4, &v), 1);                   \
		OP(name, type, 5, name##_sub_and_test(5, &v), true, 0);      \
		OP(name, type, 5, name##_sub_and_test(4, &v), false, 1);     \
		OP(name, type, 1, name##_dec_and_test(&v), true, 0);         \
		OP(name, type, 0, name##_dec_and_test(&v), false, -1);       \
		OP(name, type, -1, name##_inc_and_test(&v), true, 0);        \
		OP(name, type, 0, name##_inc_and_test(&v), false, 1);        \
		OP(name, type, 0, name##_add_negative(-1, &v), true, -1);    \
		OP(name, type, 0, name##_add_negative(0, &v), false, 0);     \
		OP(name, type, 5, name##_fetch_add_unless(&v, 2, 5), 5, 5);  \
		OP(name, type, 5, name##_fetch_add_unless(&v, 2, 6), 5, 7);  \
		OP(name, type, 5, name##_add_unless(&v, 2, 5), false, 5);    \
		OP(name, type, 5, name##_add_unless(&v, 2, 0), true, 7);     \
		OP(name, type, 0, name##_inc_not_zero(&v), false, 0);        \
		OP(name, type, 1, name##_inc_not_zero(&v), true, 2);         \
		OP(name, type, 1, name##_dec_if_positive(&v), 0, 0);         \
		OP(name, type, 0, name##_dec_if_positive(&v), -1, 0);        \
	}

COUNTER_TEST(atomic, int)
COUNTER_TEST(atomic_long, long)
COUNTER_TEST(atomic64, s64)

static void bits_are_set_and_tested_in_their_word(void **state)
{
	unsigned long map[3] = { 0 };
	bool was;

	ONE_POINT(PS_POINT_RMW, &map[1], set_bit(64 + 5, map));
	assert_int_equal(map[1], 1UL << 5);
	ONE_POINT(PS_POINT_READ, &map[1], was = test_bit(64 + 5, map));
	assert_true(was);
	ONE_POINT(PS_POINT_READ, &map[1], was = test_bit_acquire(64 + 6, map));
	assert_false(was);
	ONE_POINT(PS_POINT_RMW, &map[2], was = test_and_set_bit(128, map));
	assert_false(was);
	ONE_POINT(PS_POINT_RMW, &map[2], was = test_and_set_bit(128, map));
	assert_true(was);
	ONE_POINT(PS_POINT_RMW, &map[2], was = test_and_clear_bit(128, map));
	assert_true(was);
	ONE_POINT(PS_POINT_RMW, &map[2], was = test_and_change_bit(191, map));
	assert_false(was);
	assert_int_equal(map[2], 1UL << 63);
	ONE_POINT(PS_POINT_RMW, &map[2], change_bit(191, map));
	assert_int_equal(map[2], 0);
	ONE_POINT(PS_POINT_TRY, &map[0], was = test_and_set_bit_lock(0, map));
	assert_false(was);
	ONE_POINT(PS_POINT_TRY, &map[0], was = test_and_set_bit_lock(0, map));
	assert_true(was);
	ONE_POINT(PS_POINT_RELEASE, &map[0], clear_bit_unlock(0, map));
	ONE_POINT(PS_POINT_RMW, &map[1], clear_bit(64 + 5, map));
	assert_true(!map[0] && !map[1] && !map[2]);
	ear.heard = 0;
	__set_bit(3, map);
	__clear_bit(3, map);
	assert_int_equal(ear.heard, 0);
}

struct pair {
	u32 a, b;
};

static void shared_words_are_read_and_written_behind_one_point(void **state)
{
	const u64 constant = 9;
	struct pair pair = { 1, 2 }, copy;
	u64 word = 5, got, expected = 5;
	void *ptr = NULL;
	bool ok;

	ONE_POINT(PS_POINT_READ, &word, got = READ_ONCE(word));
	assert_int_equal(got, 5);
	ONE_POINT(PS_POINT_READ, &constant, got = READ_ONCE(constant));
	assert_int_equal(got, 9);
	ONE_POINT(PS_POINT_READ, &pair, copy = READ_ONCE(pair));
	assert_true(copy.a == 1 && copy.b == 2);
	ONE_POINT(PS_POINT_WRITE, &word, WRITE_ONCE(word, got));
	assert_int_equal(word, 9);
	ONE_POINT(PS_POINT_READ, &word, got = smp_load_acquire(&word));
	ONE_POINT(PS_POINT_WRITE, &word, smp_store_release(&word, 5));
	ONE_POINT(PS_POINT_WRITE, &ptr, WRITE_ONCE(ptr, NULL));
	ONE_POINT(PS_POINT_RMW, &word, got = cmpxchg(&word, 5, 6));
	assert_true(got == 5 && word == 6);
	ONE_POINT(PS_POINT_RMW, &word, got = cmpxchg(&word, 5, 7));
	assert_true(got == 6 && word == 6);
	ONE_POINT(PS_POINT_RMW, &word, got = xchg(&word, 8));
	assert_true(got == 6 && word == 8);
	ONE_POINT(PS_POINT_RMW, &word, ok = try_cmpxchg(&word, &expected, 9));
	assert_true(!ok && expected == 8 && word == 8);
	ONE_POINT(PS_POINT_RMW, &word, ok = try_cmpxchg(&word, &expected, 9));
	assert_true(ok && word == 9);
	ONE_POINT(PS_POINT_FENCE, NULL, smp_mb());
	ONE_POINT(PS_POINT_FENCE, NULL, smp_rmb());
	ONE_POINT(PS_POINT_FENCE, NULL, smp_wmb());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(atomic_does_what_linux_says, setup, teardown),
		cmocka_unit_test_setup_teardown(atomic_long_does_what_linux_says, setup, teardown),
		cmocka_unit_test_setup_teardown(atomic64_does_what_linux_says, setup, teardown),
		cmocka_unit_test_setup_teardown(bits_are_set_and_tested_in_their_word, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_words_are_read_and_written_behind_one_point, setup, teardown),
	};

	return cmocka_run_group_tests_name("atomic", tests, NULL, NULL);
}
