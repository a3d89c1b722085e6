/* SPDX-License-Identifier: MIT */
/* The generator: published vectors, no bias, independent streams. */
#include "cmocka_all.h"

#include <pagesim/rng.h>

/* Source: the authors' reference implementations (prng.di.unimi.it), state 1, 2, 3, 4 and seed 0. */
static void numbers_are_those_of_the_reference_implementation(void **state)
{
	static const u64 from_1234[] = { 11520, 0, 1509978240, 1215971899390074240ULL };
	static const u64 splitmix_0[] = { 0xe220a8397b1dcdafULL, 0x6e789e6aa1b965f4ULL, 0x06c45d188009454fULL,
					  0xf88bb8a8724c81ecULL };
	struct ps_rng rng = { { 1, 2, 3, 4 } };
	u64 seed = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(from_1234); i++)
		assert_int_equal(ps_rng_next(&rng), from_1234[i]);
	for (i = 0; i < ARRAY_SIZE(splitmix_0); i++)
		assert_int_equal(ps_splitmix64(&seed), splitmix_0[i]);
}

static void a_seed_gives_the_same_stream_for_ever(void **state)
{
	static const struct {
		u64 seed, first[4];
	} golden[] = {
		{ 0, { 0x99ec5f36cb75f2b4ULL, 0xbf6e1f784956452aULL, 0x1a5f849d4933e6e0ULL, 0x6aa594f1262d2d2cULL } },
		{ 1, { 0xb3f2af6d0fc710c5ULL, 0x853b559647364ceaULL, 0x92f89756082a4514ULL, 0x642e1c7bc266a3a7ULL } },
		{ 42, { 0x15780b2e0c2ec716ULL, 0x6104d9866d113a7eULL, 0xae17533239e499a1ULL, 0xecb8ad4703b360a1ULL } },
	};
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(golden); i++) {
		struct ps_rng rng;

		ps_rng_init(&rng, golden[i].seed);
		for (j = 0; j < 4; j++)
			assert_int_equal(ps_rng_next(&rng), golden[i].first[j]);
	}
}

/*
 * A bound just above 2/3 of 2^64: taking the remainder would give the lower half of the range twice as often. Expect the
 * three thirds of the range within five standard deviations of equal.
 */
static void a_bounded_number_has_no_bias(void **state)
{
	const u64 bound = 3ULL << 62;
	unsigned int third[3] = { 0 };
	struct ps_rng rng;
	int i;

	ps_rng_init(&rng, 7);
	for (i = 0; i < 30000; i++) {
		u64 x = ps_rng_below(&rng, bound);

		assert_true(x < bound);
		third[x >> 62]++;
	}
	for (i = 0; i < 3; i++)
		assert_in_range(third[i], 10000 - 5 * 82, 10000 + 5 * 82);
}

static void every_value_below_a_small_bound_comes(void **state)
{
	u64 bound;
	struct ps_rng rng;

	ps_rng_init(&rng, 0);
	assert_int_equal(ps_rng_below(&rng, 0), 0);
	assert_int_equal(ps_rng_below(&rng, 1), 0);
	for (bound = 2; bound < 20; bound++) {
		u64 seen = 0;
		int i;

		for (i = 0; i < 1000; i++)
			seen |= (u64)1 << ps_rng_below(&rng, bound);
		assert_int_equal(seen, ((u64)1 << bound) - 1);
	}
}

static void chances_and_fractions_are_what_they_say(void **state)
{
	struct ps_rng rng;
	double sum = 0;
	int hits = 0, i;

	ps_rng_init(&rng, 3);
	for (i = 0; i < 65536; i++) {
		double d = ps_rng_double(&rng);

		assert_true(d >= 0 && d < 1);
		sum += d;
		hits += ps_rng_chance(&rng, 16384);
		assert_false(ps_rng_chance(&rng, 0));
		assert_true(ps_rng_chance(&rng, 65536));
	}
	assert_in_range(hits, 16384 - 600, 16384 + 600);
	assert_true(sum > 0.49 * 65536 && sum < 0.51 * 65536);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_those_of_the_reference_implementation),
		cmocka_unit_test(a_seed_gives_the_same_stream_for_ever),
		cmocka_unit_test(a_bounded_number_has_no_bias),
		cmocka_unit_test(every_value_below_a_small_bound_comes),
		cmocka_unit_test(chances_and_fractions_are_what_they_say),
	};

	return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
