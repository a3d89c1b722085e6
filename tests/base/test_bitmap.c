/* SPDX-License-Identifier: MIT */
/* Bitmaps against an array of bool, at sizes around the edges of words. */
#include <string.h>

#include "cmocka_all.h"

#include <pagesim/bitmap.h>
#include <pagesim/rng.h>

#define MAX_BITS 200

struct pair {
	unsigned long map[BITS_TO_LONGS(MAX_BITS) + 1];
	bool bit[MAX_BITS];
	unsigned long n;
};

static const unsigned long sizes[] = { 1, 7, 63, 64, 65, 127, 128, 129, 200 };

static void assert_same(const struct pair *p)
{
	unsigned long weight = 0, last = p->n, next, i, bit;

	for (i = 0; i < p->n; i++) {
		assert_int_equal(__test_bit(i, p->map), p->bit[i]);
		weight += p->bit[i];
		last = p->bit[i] ? i : last;
	}
	assert_int_equal(bitmap_weight(p->map, p->n), weight);
	assert_int_equal(bitmap_empty(p->map, p->n), weight == 0);
	assert_int_equal(bitmap_full(p->map, p->n), weight == p->n);
	assert_int_equal(find_last_bit(p->map, p->n), last);
	for (i = 0; i <= p->n; i++) {
		for (next = i; next < p->n && !p->bit[next]; next++)
			;
		assert_int_equal(find_next_bit(p->map, p->n, i), next);
		for (next = i; next < p->n && p->bit[next]; next++)
			;
		assert_int_equal(find_next_zero_bit(p->map, p->n, i), next);
	}
	for_each_set_bit(bit, p->map, p->n) {
		assert_true(p->bit[bit]);
		weight--;
	}
	assert_int_equal(weight, 0);
}

static void random_changes_agree_with_an_array(void **state)
{
	struct ps_rng rng;
	size_t s;

	ps_rng_init(&rng, 11);
	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct pair p = { .n = sizes[s] };
		int step;

		/* What lies behind the last bit must not matter. */
		memset(p.map, 0xff, sizeof(p.map));
		bitmap_clear(p.map, 0, p.n);
		for (step = 0; step < 200; step++) {
			unsigned long i = ps_rng_below(&rng, p.n), len = ps_rng_below(&rng, p.n - i + 1);
			bool was = p.bit[i];

			switch (ps_rng_below(&rng, 7)) {
			case 0:
				__set_bit(i, p.map);
				p.bit[i] = true;
				break;
			case 1:
				__clear_bit(i, p.map);
				p.bit[i] = false;
				break;
			case 2:
				__change_bit(i, p.map);
				p.bit[i] = !p.bit[i];
				break;
			case 3:
				assert_int_equal(__test_and_set_bit(i, p.map), was);
				p.bit[i] = true;
				break;
			case 4:
				assert_int_equal(__test_and_clear_bit(i, p.map), was);
				p.bit[i] = false;
				break;
			case 5:
				bitmap_set(p.map, i, len);
				memset(p.bit + i, true, len);
				break;
			default:
				bitmap_clear(p.map, i, len);
				memset(p.bit + i, false, len);
				break;
			}
			assert_same(&p);
		}
		assert_true(__test_bit(p.n, p.map));
		bitmap_fill(p.map, p.n);
		memset(p.bit, true, p.n);
		assert_same(&p);
		bitmap_zero(p.map, p.n);
		memset(p.bit, false, p.n);
		assert_same(&p);
	}
}

static void words_are_counted_and_searched(void **state)
{
	assert_int_equal(hweight64(0), 0);
	assert_int_equal(hweight64(~0ULL), 64);
	assert_int_equal(hweight_long(0xf0f0), 8);
	assert_int_equal(__ffs(0x80), 7);
	assert_int_equal(__fls(0x81), 7);
	assert_int_equal(__fls(1UL << 63), 63);
	assert_int_equal(fls64(0), 0);
	assert_int_equal(fls64(1), 1);
	assert_int_equal(fls64(~0ULL), 64);
	assert_int_equal(ilog2(1), 0);
	assert_int_equal(ilog2(511), 8);
	assert_int_equal(ilog2(512), 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes_agree_with_an_array),
		cmocka_unit_test(words_are_counted_and_searched),
	};

	return cmocka_run_group_tests_name("bitmap", tests, NULL, NULL);
}
