/* SPDX-License-Identifier: MIT */
/*
 * How fast traces are read and made on this host: decoding (what replay waits for) in folded records and in accesses per second,
 * of the shipped recordings and of a pattern without any (Zipf 1.0 over 1 M pages); the size of both; and the import
 * of lackey text in lines per second. The best of three runs counts.
 *
 *   bench-trace [TRACE.pgt...]
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <pagesim/rng.h>
#include <pagesim/trace_import.h>

#define PAGES    (1u << 20)
#define ACCESSES (8u << 20)
#define RUNS     3

/* Processor time: on a busy host the clock on the wall measures the others. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(GError *error)
{
	fprintf(stderr, "bench-trace: %s\n", error ? error->message : "failed");
	exit(1);
}

static void decode(const char *name, int fd)
{
	double best = 1e9;
	u64 records = 0, accesses = 0, sum = 0;
	struct stat st;

	for (int run = 0; run < RUNS; run++) {
		struct ps_trace_reader *r;
		struct ps_trace_batch b;
		enum ps_trace_next next;
		GError *error = NULL;
		double t = now();

		if (lseek(fd, 0, SEEK_SET))
			die(NULL);
		r = ps_trace_reader_new(fd, name, &error);
		if (!r)
			die(error);
		/* Looking at one record a batch keeps the compiler honest and costs nothing. */
		while ((next = ps_trace_reader_next(r, &b, &error)) == PS_TRACE_BATCH)
			if (b.n)
				sum += b.vpn[b.n - 1] ^ b.meta[0];
		if (next == PS_TRACE_FAILED)
			die(error);
		t = now() - t;
		best = t < best ? t : best;
		records = ps_trace_reader_total(r, "records", 0);
		accesses = ps_trace_reader_total(r, "accesses", 0);
		ps_trace_reader_free(r);
	}
	if (fstat(fd, &st))
		die(NULL);
	printf("decode  %-28s %9.1f M records/s %9.1f M accesses/s %7.3f bytes/record   (%llu records, sum %llx)\n",
	       name, (double)records / best / 1e6, (double)accesses / best / 1e6, (double)st.st_size / (double)records,
	       (unsigned long long)records, (unsigned long long)sum);
}

/* Zipf(1.0): the inverse of the distribution's integral is near enough for a benchmark of bytes. */
static void zipf(void)
{
	const struct ps_trace_info info = { .source = "synthetic",
					    .created_by = "bench-trace",
					    .clock = PS_CLOCK_ACCESSES };
	int fd = memfd_create("zipf", MFD_CLOEXEC);
	GError *error = NULL;
	struct ps_trace_writer *w = ps_trace_writer_new(fd, "zipf", &info, NULL, &error);
	u64 *pages = malloc(ACCESSES * sizeof(*pages));
	struct ps_rng rng;
	double t;

	if (!w || !pages)
		die(error);
	ps_rng_init(&rng, 1);
	for (u32 i = 0; i < ACCESSES; i++) {
		u64 rank = (u64)exp((double)(ps_rng_next(&rng) >> 11) * 0x1p-53 * log(PAGES));

		/* Scattered over the address space, as hot pages are. */
		pages[i] = 0x100000 + (rank * 0x9e3779b1u) % PAGES;
	}
	t = now();
	for (u32 i = 0; i < ACCESSES; i++)
		ps_trace_writer_access(w, 0, pages[i], i & 3 ? PS_ACCESS_READ : PS_ACCESS_WRITE, i);
	if (!ps_trace_writer_finish(w, &error))
		die(error);
	t = now() - t;
	ps_trace_writer_free(w);
	free(pages);
	printf("write   %-28s %9.1f M accesses/s\n", "zipf over 1 M pages", ACCESSES / t / 1e6);
	decode("zipf over 1 M pages", fd);
	close(fd);
}

/* Lines as a loop over a few arrays makes them: 85 of 100 are instructions. */
static void import(void)
{
	GString *text = g_string_new("==1== Command: bench\n");
	double best = 1e9;
	u64 lines = 0;

	for (u32 i = 0; i < 600000; i++) {
		g_string_append_printf(text, "I  %08x,%u\n", 0x0401ab70 + i % 97 * 4, 3 + i % 5);
		if (i % 6 == 0)
			g_string_append_printf(text, " %c %08x,8\n", "LSLLM"[i / 6 % 5],
					       0x04a00000 + i / 6 % 5000 * 64);
		else if (i % 31 == 0)
			g_string_append_printf(text, " S 1fff%06x,8\n", 0x700 - i % 64 * 8);
	}
	for (int run = 0; run < RUNS; run++) {
		const struct ps_trace_info info = { .source = "lackey",
						    .created_by = "bench-trace",
						    .clock = PS_CLOCK_INSTRUCTIONS };
		int fd = memfd_create("import", MFD_CLOEXEC);
		GError *error = NULL;
		struct ps_trace_writer *w = ps_trace_writer_new(fd, "import", &info, NULL, &error);
		struct ps_lackey *lackey;
		struct ps_lackey_stream *s;
		double t = now();

		if (!w)
			die(error);
		lackey = ps_lackey_new(w, NULL);
		s = ps_lackey_stream_new(lackey, "bench", 0);
		for (int k = 0; k < 8; k++)
			for (size_t at = 0; at < text->len; at += 1 << 18)
				if (!ps_lackey_feed(s, text->str + at, MIN((size_t)1 << 18, text->len - at), &error))
					die(error);
		lines = ps_lackey_counts(lackey)->lines;
		ps_lackey_free(lackey);
		if (!ps_trace_writer_finish(w, &error))
			die(error);
		ps_trace_writer_free(w);
		close(fd);
		t = now() - t;
		best = t < best ? t : best;
	}
	g_string_free(text, true);
	printf("import  %-28s %9.1f M lines/s\n", "lackey text", (double)lines / best / 1e6);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *name = g_path_get_basename(argv[i]);
		FILE *f = fopen(argv[i], "rb");

		if (f) {
			decode(name, fileno(f));
			fclose(f);
		} else {
			printf("decode  %-28s not there\n", name);
		}
		g_free(name);
	}
	zipf();
	import();
	return 0;
}
