/* SPDX-License-Identifier: MIT */
/*
 * lackey-import: lines of valgrind text a second, folded and written as a .pgt that nobody keeps. The text has lackey's usual
 * mixture (85% instruction lines) and is fed in pieces of 64 KiB, as from a pipe. Target: 10 M lines/s.
 */
#include <fcntl.h>

#include <pagesim/rng.h>
#include <pagesim/trace_import.h>

#include "bench.h"

#define LINES  4000000
#define PIECE  65536
#define ROUNDS 5

int main(void)
{
	GString *text = g_string_sized_new(LINES * 18);
	double took[ROUNDS], rate;
	struct ps_rng rng;

	ps_rng_init(&rng, 1);
	g_string_append(text, "==1234== Lackey, an example Valgrind tool\n==1234== Command: bench\n==1234== \n");
	for (u64 i = 0, pc = 0x401000, stack = 0x1fff000500; i < LINES; i++) {
		u64 draw = ps_rng_below(&rng, 100);

		if (draw < 85) {
			pc = draw < 10 ? 0x401000 + ps_rng_below(&rng, 1 << 18) : pc + 4;
			g_string_append_printf(text, "I  %08llx,4\n", (unsigned long long)pc);
		} else if (draw < 95) {
			g_string_append_printf(text, " %c %08llx,8\n", draw < 91 ? 'L' : 'S',
					       (unsigned long long)(stack - 8 * ps_rng_below(&rng, 64)));
		} else {
			g_string_append_printf(text, " %c %08llx,4\n", draw < 98 ? 'L' : 'M',
					       (unsigned long long)(0x4a00000 + 4 * ps_rng_below(&rng, 1 << 20)));
		}
	}
	for (int round = 0; round < ROUNDS; round++) {
		struct ps_trace_info info = { .source = "lackey",
					      .command = "",
					      .created_by = "bench",
					      .note = "",
					      .clock = PS_CLOCK_INSTRUCTIONS };
		int fd = open("/dev/null", O_WRONLY);
		GError *error = NULL;
		struct ps_trace_writer *writer = ps_trace_writer_new(fd, "bench", &info, NULL, &error);
		struct ps_lackey *lackey = ps_lackey_new(writer, NULL);
		struct ps_lackey_stream *stream = ps_lackey_stream_new(lackey, "bench", 0);
		double start = bench_cpu();

		for (size_t at = 0; at < text->len; at += PIECE)
			if (!ps_lackey_feed(stream, text->str + at, MIN(PIECE, text->len - at), &error))
				bench_die("%s", error->message);
		if (!ps_lackey_stream_end(stream, &error))
			bench_die("%s", error->message);
		ps_lackey_finish(lackey);
		if (!ps_trace_writer_finish(writer, &error))
			bench_die("%s", error->message);
		took[round] = bench_cpu() - start;
		if (ps_lackey_counts(lackey)->lines < LINES)
			bench_die("lines were lost");
		ps_lackey_free(lackey);
		ps_trace_writer_free(writer);
		close(fd);
	}
	rate = LINES / bench_median(took, ROUNDS);
	printf("lackey-import %.1f M lines/s, target 10\n", rate / 1e6);
	g_string_free(text, TRUE);
	return bench_verdict(rate >= 10e6);
}
