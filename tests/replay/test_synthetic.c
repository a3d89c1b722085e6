/* SPDX-License-Identifier: MIT */
/* Synthetic traces: the Zipf table has the distribution it claims, draws follow it, and the same seed is the same trace. */
#include "replay/scene.h"

#include <math.h>

#include <pagesim/synthetic.h>

/* Expect: what the table gives rank k is 1 / (k + 1) over the harmonic number, to 1e-9 of it; all together one. */
static void table_has_the_exact_weights(void **state)
{
	static const u64 sizes[] = { 1, 2, 3, 7, 64, 1000, 1023 };

	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		u64 n = sizes[i];
		struct ps_zipf *zipf = ps_zipf_new(n);
		double harmonic = 0, all = 0;

		assert_non_null(zipf);
		for (u64 k = 0; k < n; k++)
			harmonic += 1.0 / (double)(k + 1);
		for (u64 k = 0; k < n; k++) {
			double p = (double)ps_zipf_weight(zipf, k) / 18446744073709551616.0;
			double want = 1 / ((double)(k + 1) * harmonic);

			assert_true(fabs(p - want) < 1e-9 * want + 1e-17);
			all += p;
		}
		assert_true(fabs(all - 1) < 1e-9);
		assert_int_equal(ps_zipf_weight(zipf, n), 0);
		ps_zipf_free(zipf);
	}
	assert_null(ps_zipf_new(0));
	assert_null(ps_zipf_new(1ULL << 32));
	ps_zipf_free(NULL);
}

/* A million draws of 1000 ranks: each of the first 20 within five standard deviations. */
static void draws_follow_the_weights(void **state)
{
	enum { N = 1000, DRAWS = 1000000 };
	struct ps_zipf *zipf = ps_zipf_new(N);
	static u64 seen[N];
	struct ps_rng rng;

	assert_non_null(zipf);
	ps_rng_init(&rng, 42);
	for (int i = 0; i < DRAWS; i++) {
		u64 k = ps_zipf_next(zipf, &rng);

		assert_true(k < N);
		seen[k]++;
	}
	for (int k = 0; k < 20; k++) {
		double p = (double)ps_zipf_weight(zipf, (u64)k) / 18446744073709551616.0;

		assert_true(fabs((double)seen[k] - DRAWS * p) < 5 * sqrt(DRAWS * p * (1 - p)));
	}
	ps_zipf_free(zipf);
}

struct summary {
	u64 records, reads, writes;
	u64 pages[64];
	u64 hash;
};

static struct summary generate(const struct ps_synthetic_settings *settings)
{
	static const struct ps_trace_info info = {
		.source = "synthetic", .command = "", .created_by = "", .note = "", .clock = PS_CLOCK_ACCESSES
	};
	struct summary s = { 0 };
	struct ps_trace_writer *writer;
	struct ps_trace_reader *reader;
	struct ps_trace_batch batch;
	int fd = memfd_create("test", MFD_CLOEXEC), events = 0;
	enum ps_trace_next next;
	GError *error = NULL;

	writer = ps_trace_writer_new(fd, "t", &info, NULL, &error);
	assert_true(ps_synthetic_write(settings, writer, &error));
	assert_true(ps_trace_writer_finish(writer, &error));
	ps_trace_writer_free(writer);
	lseek(fd, 0, SEEK_SET);
	reader = ps_trace_reader_new(fd, "t", &error);
	assert_null(error);
	while ((next = ps_trace_reader_next(reader, &batch, &error)) == PS_TRACE_BATCH) {
		events += batch.event != NULL;
		for (u32 i = 0; i < batch.n; i++) {
			s.records++;
			s.reads += ps_meta_reads(batch.meta[i]);
			s.writes += ps_meta_writes(batch.meta[i]);
			assert_true(batch.vpn[i] - 0x10000 < settings->pages);
			s.pages[(batch.vpn[i] - 0x10000) % 64] += ps_meta_count(batch.meta[i]);
			s.hash = (s.hash ^ batch.vpn[i] ^ ((u64)batch.meta[i] << 40)) * 0x100000001b3ULL;
		}
	}
	assert_int_equal(next, PS_TRACE_END);
	assert_int_equal(events, 3);
	ps_trace_reader_free(reader);
	close(fd);
	return s;
}

static void patterns_are_what_they_are_called(void **state)
{
	struct ps_synthetic_settings settings = { .pages = 64, .accesses = 64000, .seed = 5, .write_per_mille = 250 };
	struct summary s = generate(&settings);
	u64 most = 0;

	assert_int_equal(s.reads + s.writes, 64000);
	assert_in_range(s.writes, 15500, 16500);
	for (int i = 0; i < 64; i++)
		most = MAX(most, s.pages[i]);
	assert_in_range(most, 13000, 14000); /* 64000 / 4.744 */
	assert_true(s.pages[0] < most);      /* scattered */
	settings.ranked = true;
	s = generate(&settings);
	assert_in_range(s.pages[0], 13000, 14000);
	settings.pattern = PS_SYNTHETIC_UNIFORM;
	s = generate(&settings);
	for (int i = 0; i < 64; i++)
		assert_in_range(s.pages[i], 850, 1150);
	settings.pattern = PS_SYNTHETIC_SEQUENTIAL;
	settings.write_per_mille = 0;
	s = generate(&settings);
	for (int i = 0; i < 64; i++)
		assert_int_equal(s.pages[i], 1000);
	assert_int_equal(s.writes, 0);
	assert_int_equal(s.records, 64000);
}

/* The hash pins the numbers: another host, compiler or optimisation gives this trace too. */
static void same_seed_is_the_same_trace_everywhere(void **state)
{
	struct ps_synthetic_settings settings = { .pages = 1000, .accesses = 5000, .seed = 1, .write_per_mille = 300 };
	struct summary a = generate(&settings), b = generate(&settings);

	assert_int_equal(a.hash, b.hash);
	assert_int_equal(a.hash, 0x43fbc6b71037f3acULL);
	settings.seed = 2;
	assert_int_not_equal(generate(&settings).hash, a.hash);
}

static void settings_out_of_range_are_errors(void **state)
{
	static const struct ps_synthetic_settings bad[] = {
		{ .pages = 0, .accesses = 1 },
		{ .pages = 1ULL << 32, .accesses = 1 },
		{ .pages = 1, .accesses = 1, .write_per_mille = 1001 },
		{ .pages = 2, .accesses = 1, .first_vpn = (1ULL << 35) - 1 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		GError *error = NULL;

		assert_false(ps_synthetic_write(&bad[i], NULL, &error));
		assert_true(g_error_matches(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_ARGUMENT));
		g_error_free(error);
	}
}

static void no_memory_is_an_error(void **state)
{
	struct ps_synthetic_settings settings = { .pages = 100, .accesses = 10 };
	GError *error = NULL;

	for (int n = 1; n <= 4; n++) {
		ps_alloc_fail_nth((u64)n);
		assert_false(ps_synthetic_write(&settings, NULL, &error));
		assert_false(ps_alloc_fail_nth(0));
		assert_true(g_error_matches(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_MEMORY));
		g_clear_error(&error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(table_has_the_exact_weights, scene_nothing_left),
		cmocka_unit_test_teardown(draws_follow_the_weights, scene_nothing_left),
		cmocka_unit_test_teardown(patterns_are_what_they_are_called, scene_nothing_left),
		cmocka_unit_test_teardown(same_seed_is_the_same_trace_everywhere, scene_nothing_left),
		cmocka_unit_test_teardown(settings_out_of_range_are_errors, scene_nothing_left),
		cmocka_unit_test_teardown(no_memory_is_an_error, scene_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
