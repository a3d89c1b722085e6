/* SPDX-License-Identifier: MIT */
/*
 * Scenes of trace tests: files that live in memory, a small trace with one of everything, and the whole of a trace as one string
 * (its bulk text), which is how two traces are compared.
 */
#ifndef TESTS_TRACE_SCENE_H
#define TESTS_TRACE_SCENE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cmocka_all.h"

#include <pagesim/trace_file.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file of these bytes, read from its beginning. */
static inline int file_of(const void *bytes, size_t n)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* All bytes of a file. Freed by g_string_free(). */
static inline GString *bytes_of(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	GString *s = g_string_new(NULL);

	assert_true(size >= 0);
	g_string_set_size(s, (gsize)size);
	assert_int_equal(pread(fd, s->str, (size_t)size, 0), size);
	return s;
}

static const struct ps_trace_info scene_info = { .source = "test",
						 .command = "prog 'a b' \xc3\xa9",
						 .created_by = "scene",
						 .note = "one of\neverything",
						 .clock = PS_CLOCK_INSTRUCTIONS };

/* A writer into a new file. */
static inline struct ps_trace_writer *new_writer(int *fd, u32 fold, u32 frame_records)
{
	struct ps_trace_writer_settings settings = { .fold = fold, .frame_records = frame_records };
	struct ps_trace_writer *w;
	GError *error = NULL;

	*fd = memfd_create("test", MFD_CLOEXEC);
	w = ps_trace_writer_new(*fd, "scene.pgt", &scene_info, &settings, &error);
	assert_null(error);
	assert_non_null(w);
	return w;
}

static inline void finish(struct ps_trace_writer *w)
{
	GError *error = NULL;

	if (!ps_trace_writer_finish(w, &error))
		fail_msg("%s", error->message);
	ps_trace_writer_free(w);
}

/* One event of every kind, all fields in use, and accesses of every sort around them. */
static inline void write_everything(struct ps_trace_writer *w)
{
	u64 time = 3;

	for (int kind = 0; kind < PS_EVENT_KINDS; kind++) {
		struct ps_event e = {
			.kind = (enum ps_event_kind)kind,
			.task = (u32)kind % 5,
			.other = kind % 2 ? PS_TASK_NONE : 7,
			.pid = 4000000,
			.tid = 300,
			.time = time,
			.vpn = 0x7fffffff0 + (u64)kind,
			.pages = 1ull << 40,
			.to_vpn = 12,
			.to_pages = 3,
			.prot = 5,
			.flags = 0x1ff,
			.advice = kind % 2 ? 4 : -1,
			.line = 77,
			.offset = ~0ull,
			.length = 123456789012,
			.name = "/t/a name\\with\tall\x01sorts\xff \xe2\x82\xac",
		};

		ps_trace_writer_event(w, &e);
		for (u32 i = 0; i < 5; i++)
			ps_trace_writer_access(w, (u32)kind % 3, 0x1000 + i * (u64)kind, (enum ps_access_kind)(i % 4),
					       time += i);
	}
	ps_trace_writer_record(w, 9, PS_TRACE_VPN_END - 1, ps_meta_data(PS_META_COUNT_MAX, PS_META_COUNT_MAX, true),
			       time + 5);
	ps_trace_writer_record(w, 9, 0, ps_meta_data(255, 126, false), time + 6);
	ps_trace_writer_record(w, 9, 0, ps_meta_data(254, 127, false), time + 6);
	ps_trace_writer_record(w, 9, 1, ps_meta_data(0, 1, false), time + 6);
	ps_trace_writer_record(w, 9, 1, ps_meta_fetch(1000), time + 6);
	ps_trace_writer_cut(w, time + 1000);
	ps_trace_writer_total(w, "made up", 42);
	ps_trace_writer_total(w, "made up", 1);
}

/* Bulk text of what the reader still has, and what it ended with (NULL at a good end). Freed by g_free(). */
static inline char *text_of_reader(struct ps_trace_reader *r, char **ret_error)
{
	int fd = memfd_create("text", MFD_CLOEXEC);
	GError *error = NULL;
	bool ok = ps_trace_dump(r, fd, "text", &error);
	GString *s = bytes_of(fd);

	assert_true(ok == !error);
	if (ret_error)
		*ret_error = error ? g_strdup(error->message) : NULL;
	else if (error)
		fail_msg("%s", error->message);
	g_clear_error(&error);
	close(fd);
	return g_string_free(s, false);
}

/* The same of a whole file, from its beginning; a header that cannot be read gives "". */
static inline char *text_of(int fd, char **ret_error)
{
	GError *error = NULL;
	struct ps_trace_reader *r;
	char *text;

	lseek(fd, 0, SEEK_SET);
	r = ps_trace_reader_new(fd, "scene.pgt", &error);
	if (!r) {
		assert_non_null(error);
		if (!ret_error)
			fail_msg("%s", error->message);
		*ret_error = g_strdup(error->message);
		g_error_free(error);
		return g_strdup("");
	}
	text = text_of_reader(r, ret_error);
	ps_trace_reader_free(r);
	return text;
}

#endif
