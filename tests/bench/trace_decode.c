/* SPDX-License-Identifier: MIT */
/*
 * trace-decode: folded accesses a second out of a .pgt file, summed up so that every one is looked at. The file of
 * replay-hot is the hard case: nothing folds and page numbers are random. Also bytes per folded access. Further files may
 * be named.
 */
#include "zipf_file.h"

#include <sys/stat.h>

static void decode(const char *path)
{
	double best = 1e30, took[5];
	u64 records = 0, accesses = 0, sum = 0;
	struct stat st;

	for (int round = 0; round < 5; round++) {
		GError *error = NULL;
		struct ps_trace_reader *reader = ps_trace_reader_open(path, &error);
		struct ps_trace_batch batch;
		enum ps_trace_next next;
		double start = bench_cpu();

		if (!reader)
			bench_die("%s", error->message);
		records = accesses = 0;
		while ((next = ps_trace_reader_next(reader, &batch, &error)) == PS_TRACE_BATCH) {
			records += batch.n;
			for (u32 i = 0; i < batch.n; i++) {
				sum += batch.vpn[i];
				accesses += ps_meta_count(batch.meta[i]);
			}
		}
		if (next == PS_TRACE_FAILED)
			bench_die("%s", error->message);
		took[round] = bench_cpu() - start;
		best = took[round] < best ? took[round] : best;
		ps_trace_reader_free(reader);
	}
	if (stat(path, &st) || !records)
		bench_die("%s: no accesses", path);
	printf("trace-decode %s: %.1f M folded accesses/s (best %.1f), %.1f M accesses/s, %.2f bytes per folded "
	       "access%s\n",
	       path, (double)records / bench_median(took, 5) / 1e6, (double)records / best / 1e6,
	       (double)accesses / bench_median(took, 5) / 1e6, (double)st.st_size / (double)records, sum ? "" : "!");
}

int main(int argc, char **argv)
{
	zipf_file(argv[1]);
	for (int i = 1; i < argc; i++)
		decode(argv[i]);
	return 0;
}
