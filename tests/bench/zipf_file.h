/* SPDX-License-Identifier: MIT */
/* The trace file of the benchmarks: Zipf(1.0) over 1 M pages, 50 M accesses, 30% writes. Made once, then kept. */
#ifndef PS_TESTS_BENCH_ZIPF_FILE_H
#define PS_TESTS_BENCH_ZIPF_FILE_H

#include <fcntl.h>

#include <pagesim/synthetic.h>
#include <pagesim/trace_file.h>

#include "bench.h"

/* Is it there, and can this build read it? */
static inline bool zipf_file_good(const char *path)
{
	struct ps_trace_reader *reader = ps_trace_reader_open(path, NULL);
	struct ps_trace_batch batch;
	bool good = reader && ps_trace_reader_next(reader, &batch, NULL) == PS_TRACE_BATCH;

	ps_trace_reader_free(reader);
	return good;
}

static inline void zipf_file(const char *path)
{
	struct ps_synthetic_settings settings = {
		.pages = 1u << 20, .accesses = 50000000, .seed = 1, .write_per_mille = 300
	};
	struct ps_trace_info info = {
		.source = "synthetic", .command = "zipf", .created_by = "bench", .note = "", .clock = PS_CLOCK_ACCESSES
	};
	struct ps_trace_writer_settings w = { .level = 1 };
	char *temporary = g_strdup_printf("%s.%d", path, (int)getpid());
	struct ps_trace_writer *writer;
	GError *error = NULL;
	int fd;

	if (zipf_file_good(path)) {
		g_free(temporary);
		return;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		bench_die("%s: cannot write", temporary);
	writer = ps_trace_writer_new(fd, temporary, &info, &w, &error);
	if (!writer || !ps_synthetic_write(&settings, writer, &error) || !ps_trace_writer_finish(writer, &error))
		bench_die("%s", error->message);
	ps_trace_writer_free(writer);
	close(fd);
	if (rename(temporary, path))
		bench_die("%s: cannot rename", path);
	g_free(temporary);
}

#endif
