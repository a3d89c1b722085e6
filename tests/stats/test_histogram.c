/* SPDX-License-Identifier: MIT */
/*
 * Histograms by powers of two: exact where they promise to be, close elsewhere, the same after merging.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pagesim/histogram.h>
#include <pagesim/rng.h>

/* Expect [2^(b-1), 2^b) to be bucket b, up to the largest number there is. */
static void every_value_has_its_bucket(void **state)
{
	(void)state;
	assert_int_equal(ps_histogram_bucket(0), 0);
	assert_int_equal(ps_histogram_bucket(1), 1);
	for (unsigned b = 2; b < PS_HISTOGRAM_BUCKETS; b++) {
		assert_int_equal(ps_histogram_bucket(1ull << (b - 1)), b);
		assert_int_equal(ps_histogram_bucket((1ull << (b - 1)) - 1), b - 1);
	}
	assert_int_equal(ps_histogram_bucket(UINT64_MAX), 64);
}

static void an_empty_histogram_answers_zero(void **state)
{
	struct ps_histogram h = { 0 };

	(void)state;
	assert_int_equal(ps_histogram_percentile(&h, 500), 0);
	assert_int_equal(ps_histogram_mean(&h), 0);
}

/* Expect one value, however often, to be every percentile. */
static void a_single_value_is_every_percentile(void **state)
{
	static const u64 values[] = { 0, 1, 2, 3, 1000, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct ps_histogram h = { 0 };

		ps_histogram_add_many(&h, values[i], 1000);
		for (unsigned p = 0; p <= 1000; p++)
			assert_int_equal(ps_histogram_percentile(&h, p), values[i]);
	}
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Expect each percentile in the bucket of the exact one, never falling with rank, ends exact, and the mean rounded. */
static void percentiles_stay_in_the_bucket_of_the_exact_one(void **state)
{
	enum { N = 5000 };
	u64 *v = (u64 *)calloc(N, sizeof(*v)), sum = 0, last = 0;
	struct ps_histogram h = { 0 }, halves[2] = { { 0 }, { 0 } };
	struct ps_rng rng;

	(void)state;
	assert_non_null(v);
	ps_rng_init(&rng, 7);
	for (int i = 0; i < N; i++) {
		v[i] = ps_rng_next(&rng) >> (20 + ps_rng_below(&rng, 44));
		sum += v[i];
		ps_histogram_add(&h, v[i]);
		ps_histogram_add(&halves[i & 1], v[i]);
	}
	qsort(v, N, sizeof(*v), compare);
	for (unsigned p = 1; p <= 1000; p++) {
		u64 got = ps_histogram_percentile(&h, p), exact = v[(N * p + 999) / 1000 - 1];

		assert_int_equal(ps_histogram_bucket(got), ps_histogram_bucket(exact));
		assert_true(got >= last);
		last = got;
	}
	assert_int_equal(ps_histogram_percentile(&h, 0), v[0]);
	assert_int_equal(ps_histogram_percentile(&h, 1000), v[N - 1]);
	assert_int_equal(ps_histogram_percentile(&h, 5000), v[N - 1]);
	assert_int_equal(ps_histogram_mean(&h), (sum + N / 2) / N);

	/* Two halves merged are the whole, byte for byte. */
	ps_histogram_merge(&halves[0], &halves[1]);
	assert_memory_equal(&halves[0], &h, sizeof(h));
	free(v);
}

static void merging_with_an_empty_one_changes_nothing(void **state)
{
	struct ps_histogram h = { 0 }, empty = { 0 }, copy;

	(void)state;
	ps_histogram_add(&h, 5);
	ps_histogram_add(&h, 9);
	copy = h;
	ps_histogram_merge(&h, &empty);
	assert_memory_equal(&h, &copy, sizeof(h));
	ps_histogram_merge(&empty, &h);
	assert_memory_equal(&empty, &copy, sizeof(h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_value_has_its_bucket),
		cmocka_unit_test(an_empty_histogram_answers_zero),
		cmocka_unit_test(a_single_value_is_every_percentile),
		cmocka_unit_test(percentiles_stay_in_the_bucket_of_the_exact_one),
		cmocka_unit_test(merging_with_an_empty_one_changes_nothing),
	};

	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
