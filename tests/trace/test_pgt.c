/* SPDX-License-Identifier: MIT */
/*
 * The binary carrier: what goes in comes out, however it is folded and framed; any frame alone is what it is in the whole; and
 * no damage anywhere goes unnoticed.
 */
#include "scene.h"
#include "trace/crc32c.h"
#include "trace/pgt.h"

#include <pagesim/alloc.h>
#include <pagesim/rng.h>

#include <fcntl.h>
#include <sys/socket.h>

#define LENGTH_OF_HEADER 12

/* ---- round trips ---- */

static void the_checksum_is_crc32c(void **state)
{
	assert_int_equal(trace_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(trace_crc32c(trace_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	assert_int_equal(trace_crc32c(0, "", 0), 0);
}

static void both_ways_to_the_checksum_agree(void **state)
{
	u8 bytes[300];
	struct ps_rng rng;

	ps_rng_init(&rng, 3);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)ps_rng_next(&rng);
	for (size_t at = 0; at < 9; at++)
		for (size_t n = 0; n + at <= sizeof(bytes); n++)
			assert_int_equal(trace_crc32c(7, bytes + at, n), trace_crc32c_tables(7, bytes + at, n));
}

/* Without the lines that begin a batch: where a frame ends, a batch does. */
static char *without_batch_heads(char *text)
{
	GRegex *heads = g_regex_new("^@\\d+\\+\\d+ \\d+\n", G_REGEX_MULTILINE, 0, NULL);
	char *rest = g_regex_replace_literal(heads, text, -1, 0, "", 0, NULL);

	g_regex_unref(heads);
	g_free(text);
	return rest;
}

/* Expect: every event with every field, every record, every total, whatever the frames. */
static void everything_comes_back_as_it_was_written(void **state)
{
	static const u32 frames[] = { 0, 1, 2, 7, 16, 64 };
	char *first = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		int fd;
		struct ps_trace_writer *w = new_writer(&fd, 1, frames[i]);
		char *text;

		write_everything(w);
		finish(w);
		text = without_batch_heads(text_of(fd, NULL));
		if (!first) {
			first = g_strdup(text);
			assert_non_null(strstr(text, "total 43 made up\n"));
			assert_non_null(strstr(text, "w32767r32767\n"));
			assert_non_null(strstr(text, "r255w126\n"));
			assert_non_null(strstr(text, "x1000\n"));
			assert_non_null(strstr(text, "\\xff \xe2\x82\xac\n"));
		} else if (frames[i] >= 7) {
			/* Smaller frames fold less. */
			assert_string_equal(text, first);
		}
		g_free(text);
		close(fd);
	}
	g_free(first);
}

static void an_empty_trace_is_a_trace(void **state)
{
	int fd;
	struct ps_trace_reader *r;
	struct ps_trace_batch b;

	finish(new_writer(&fd, 1, 0));
	lseek(fd, 0, SEEK_SET);
	r = ps_trace_reader_new(fd, "empty", NULL);
	assert_non_null(r);
	assert_string_equal(ps_trace_reader_info(r)->note, scene_info.note);
	assert_string_equal(ps_trace_reader_info(r)->command, scene_info.command);
	assert_int_equal(ps_trace_reader_info(r)->clock, PS_CLOCK_INSTRUCTIONS);
	assert_int_equal(ps_trace_reader_next(r, &b, NULL), PS_TRACE_END);
	assert_int_equal(ps_trace_reader_next(r, &b, NULL), PS_TRACE_END);
	assert_int_equal(ps_trace_reader_total(r, "accesses", 99), 0);
	ps_trace_reader_free(r);
	close(fd);
}

/* A reference: accesses as they were made, one entry each. */
struct made {
	u64 vpn;
	enum ps_access_kind kind;
	u32 task;
};

/*
 * Random accesses with the given number of pages, folded; then unfolded again: for each page, the reads and writes of each
 * batch must be those made in it. Ranks of one and of two bytes are passed through.
 */
static void check_random(u64 pages, u32 n, u32 fold, u64 seed)
{
	struct ps_rng rng;
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, fold, 0);
	struct made *made = g_new(struct made, n);
	GHashTable *reads = g_hash_table_new(NULL, NULL), *writes = g_hash_table_new(NULL, NULL);
	u64 total_reads = 0, total_writes = 0, seen_reads = 0, seen_writes = 0, records = 0;
	struct ps_trace_reader *r;
	struct ps_trace_batch b;
	u32 at = 0;

	ps_rng_init(&rng, seed);
	for (u32 i = 0; i < n; i++) {
		made[i].vpn = 0x400 + ps_rng_below(&rng, pages) * 3;
		made[i].kind = (enum ps_access_kind)ps_rng_below(&rng, 3);
		made[i].task = i / 5000 % 2;
		ps_trace_writer_access(w, made[i].task, made[i].vpn, made[i].kind, i);
		total_reads += made[i].kind != PS_ACCESS_WRITE;
		total_writes += made[i].kind != PS_ACCESS_READ;
	}
	finish(w);
	lseek(fd, 0, SEEK_SET);
	r = ps_trace_reader_new(fd, "random", NULL);
	while (ps_trace_reader_next(r, &b, NULL) == PS_TRACE_BATCH) {
		u64 left = 0;

		assert_null(b.event);
		g_hash_table_remove_all(reads);
		g_hash_table_remove_all(writes);
		for (u32 i = 0; i < b.n; i++) {
			gpointer page = GSIZE_TO_POINTER(b.vpn[i]);
			u64 r0 = GPOINTER_TO_SIZE(g_hash_table_lookup(reads, page)) + ps_meta_reads(b.meta[i]);
			u64 w0 = GPOINTER_TO_SIZE(g_hash_table_lookup(writes, page)) + ps_meta_writes(b.meta[i]);

			g_hash_table_insert(reads, page, GSIZE_TO_POINTER(r0));
			g_hash_table_insert(writes, page, GSIZE_TO_POINTER(w0));
			left += ps_meta_count(b.meta[i]);
			seen_reads += ps_meta_reads(b.meta[i]);
			seen_writes += ps_meta_writes(b.meta[i]);
		}
		records += b.n;
		/* The batch is the accesses from `at` on, as many as make up its counts. */
		assert_int_equal(b.vpn[0], made[at].vpn);
		assert_int_equal(b.time, at);
		while (left) {
			gpointer page = GSIZE_TO_POINTER(made[at].vpn);
			u64 r0 = GPOINTER_TO_SIZE(g_hash_table_lookup(reads, page));
			u64 w0 = GPOINTER_TO_SIZE(g_hash_table_lookup(writes, page));

			assert_true(at < n);
			assert_int_equal(made[at].task, b.task);
			if (made[at].kind != PS_ACCESS_WRITE) {
				assert_true(r0 > 0);
				g_hash_table_insert(reads, page, GSIZE_TO_POINTER(r0 - 1));
				left--;
			}
			if (made[at].kind != PS_ACCESS_READ) {
				assert_true(w0 > 0);
				g_hash_table_insert(writes, page, GSIZE_TO_POINTER(w0 - 1));
				left--;
			}
			at++;
		}
	}
	assert_int_equal(at, n);
	assert_int_equal(seen_reads, total_reads);
	assert_int_equal(seen_writes, total_writes);
	assert_int_equal(ps_trace_reader_total(r, "reads", 0), total_reads);
	assert_int_equal(ps_trace_reader_total(r, "writes", 0), total_writes);
	assert_int_equal(ps_trace_reader_total(r, "records", 0), records);
	ps_trace_reader_free(r);
	g_hash_table_destroy(reads);
	g_hash_table_destroy(writes);
	g_free(made);
	close(fd);
}

static void folded_counts_are_those_of_the_accesses(void **state)
{
	static const struct {
		u64 pages;
		u32 n, fold;
	} cases[] = {
		{ 1, 100000, 1 },   { 3, 20000, 1 },   { 3, 20000, 2 },      { 40, 20000, 16 },
		{ 256, 20000, 64 }, { 257, 20000, 1 }, { 70000, 200000, 1 }, { 1000000, 140000, 8 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_random(cases[i].pages, cases[i].n, cases[i].fold, i + 1);
}

/* More kinds of record than a frame lists. Expect: the rare ones come through the overflow, all of them right. */
static void a_frame_may_have_any_number_of_shapes(void **state)
{
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 0);
	struct ps_trace_reader *r;
	struct ps_trace_batch b;
	u32 n = 0;

	for (u32 i = 0; i < 4000; i++)
		ps_trace_writer_record(
			w, 0, i % 7, i % 3 ? ps_meta_data(i % 1000 + 1, i % 11, i % 2) : ps_meta_fetch(i % 500 + 1), i);
	finish(w);
	lseek(fd, 0, SEEK_SET);
	r = ps_trace_reader_new(fd, "shapes", NULL);
	while (ps_trace_reader_next(r, &b, NULL) == PS_TRACE_BATCH) {
		for (u32 i = 0; i < b.n; i++, n++) {
			assert_int_equal(b.vpn[i], n % 7);
			assert_int_equal(b.meta[i], n % 3 ? ps_meta_data(n % 1000 + 1, n % 11, n % 2)
							  : ps_meta_fetch(n % 500 + 1));
		}
	}
	assert_int_equal(n, 4000);
	ps_trace_reader_free(r);
	close(fd);
}

/*
 *    made:  a b a a c a b      fold 1:  a b a2 c a b
 *                              fold 2:  a3 b c a b        (when c is appended, b and c are the last two: a begins anew)
 *                              fold 3:  a4 b2 c
 */
static void folding_reaches_back_over_as_many_pages_as_asked(void **state)
{
	static const char made[] = "abaacab";
	static const struct {
		u32 fold;
		const char *pages, *counts;
	} cases[] = { { 1, "abacab", "112111" }, { 2, "abcab", "31111" }, { 3, "abc", "421" } };

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		int fd;
		struct ps_trace_writer *w = new_writer(&fd, cases[k].fold, 0);
		struct ps_trace_reader *r;
		struct ps_trace_batch b;

		for (const char *c = made; *c; c++)
			ps_trace_writer_access(w, 0, (u64)*c, PS_ACCESS_READ, 0);
		finish(w);
		lseek(fd, 0, SEEK_SET);
		r = ps_trace_reader_new(fd, "fold", NULL);
		assert_int_equal(ps_trace_reader_info(r)->fold, cases[k].fold);
		assert_int_equal(ps_trace_reader_next(r, &b, NULL), PS_TRACE_BATCH);
		assert_int_equal(b.n, strlen(cases[k].pages));
		for (u32 i = 0; i < b.n; i++) {
			assert_int_equal(b.vpn[i], cases[k].pages[i]);
			assert_int_equal(b.meta[i], cases[k].counts[i] - '0');
		}
		ps_trace_reader_free(r);
		close(fd);
	}
}

/* Expect: a fetch does not end a run of data accesses, nor the other way round; what the first access was is kept. */
static void fetches_and_data_fold_apart(void **state)
{
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 0);
	char *text;

	for (int i = 0; i < 3; i++) {
		ps_trace_writer_access(w, 0, 0x10, PS_ACCESS_FETCH, 1);
		ps_trace_writer_access(w, 0, 0x20, i ? PS_ACCESS_READ : PS_ACCESS_WRITE, 1);
	}
	ps_trace_writer_access(w, 0, 0x30, PS_ACCESS_MODIFY, 2);
	ps_trace_writer_access(w, 0, 0x10, PS_ACCESS_FETCH, 3);
	finish(w);
	text = text_of(fd, NULL);
	assert_non_null(strstr(text, "@1+2 0\n 10 x4\n 20 w1r2\n 30 r1w1\ntotal"));
	g_free(text);
	close(fd);
}

/* Expect: 2 * 32767 + 1 writes are three records of one page; nothing wraps. */
static void long_runs_continue_in_a_new_record(void **state)
{
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 4, 0);
	char *text;

	for (int i = 0; i < 2 * 32767 + 1; i++)
		ps_trace_writer_access(w, 0, 5, PS_ACCESS_WRITE, 0);
	for (int i = 0; i < 32768; i++)
		ps_trace_writer_access(w, 0, 6, PS_ACCESS_MODIFY, 0);
	finish(w);
	text = text_of(fd, NULL);
	assert_non_null(strstr(text, " 5 w32767\n 5 w32767\n 5 w1\n 6 r32767w32767\n 6 r1w1\ntotal"));
	g_free(text);
	close(fd);
}

/* Expect: a batch ends where the next one of the task begins, at the end of what the other task did, and never goes back. */
static void time_is_exact_where_batches_meet(void **state)
{
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 0);
	struct ps_event e = { .kind = PS_EVENT_EXIT, .task = 1, .time = 500, .name = "" };
	char *text;

	ps_trace_writer_access(w, 0, 1, PS_ACCESS_READ, 10);
	ps_trace_writer_access(w, 0, 1, PS_ACCESS_READ, 90);
	ps_trace_writer_access(w, 1, 1, PS_ACCESS_READ, 100);
	ps_trace_writer_access(w, 1, 2, PS_ACCESS_READ, 50);
	ps_trace_writer_event(w, &e);
	ps_trace_writer_access(w, 1, 2, PS_ACCESS_READ, 501);
	ps_trace_writer_cut(w, 1000);
	finish(w);
	text = text_of(fd, NULL);
	assert_non_null(
		strstr(text, "@10+80 0\n 1 r2\n@100+400 1\n 1 r1\n 2 r1\n@500 1 exit\n@501+499 1\n 2 r1\ntotal"));
	assert_non_null(strstr(text, "total 1000 time\n"));
	g_free(text);
	close(fd);
}

/* ---- index and seeking ---- */

/* Expect: each frame, decoded alone and in any order, is the piece of the whole it stands for. */
static void any_frame_can_be_read_alone(void **state)
{
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 16);
	const struct ps_trace_frame *frames;
	struct ps_trace_reader *r;
	struct ps_trace_batch b;
	char *whole, *last;
	u64 records = 0, accesses = 0, events = 0;
	size_t n;

	write_everything(w);
	for (u32 i = 0; i < 1000; i++)
		ps_trace_writer_access(w, i / 100, i * i, PS_ACCESS_WRITE, 10000 + i);
	finish(w);
	whole = text_of(fd, NULL);

	lseek(fd, 0, SEEK_SET);
	r = ps_trace_reader_new(fd, "frames", NULL);
	assert_int_equal(ps_trace_reader_next(r, &b, NULL), PS_TRACE_BATCH);
	assert_true(ps_trace_reader_load_index(r, NULL));
	assert_true(ps_trace_reader_load_index(r, NULL));
	frames = ps_trace_reader_frames(r, &n);
	assert_true(n > 60);
	assert_int_equal(ps_trace_reader_total(r, "made up", 0), 43);
	/* Loading it in the middle did not move the reader. */
	assert_int_equal(ps_trace_reader_next(r, &b, NULL), PS_TRACE_BATCH);

	for (size_t i = n; i--;) {
		struct ps_trace_frame f = frames[i];
		u64 frame_records = 0, frame_accesses = 0, frame_events = 0;
		bool first = true;

		assert_true(ps_trace_reader_seek(r, i, NULL));
		while (frame_records < f.records || frame_events < f.events) {
			assert_int_equal(ps_trace_reader_next(r, &b, NULL), PS_TRACE_BATCH);
			if (first)
				assert_int_equal(b.time, f.time);
			first = false;
			frame_events += b.event != NULL;
			frame_records += b.n;
			for (u32 k = 0; k < b.n; k++)
				frame_accesses += ps_meta_count(b.meta[k]);
		}
		assert_int_equal(frame_accesses, f.accesses);
		assert_int_equal(frame_records, f.records);
		records += f.records;
		accesses += f.accesses;
		events += f.events;
	}
	assert_int_equal(records, ps_trace_reader_total(r, "records", 0));
	assert_int_equal(accesses, ps_trace_reader_total(r, "accesses", 0));
	assert_int_equal(events, ps_trace_reader_total(r, "events", 0));

	/* From the last frame on it reads to the end, and to the same end. */
	assert_true(ps_trace_reader_seek(r, n - 1, NULL));
	last = text_of_reader(r, NULL);
	assert_non_null(strstr(whole, strstr(last, "\n@")));
	assert_false(ps_trace_reader_seek(r, n, NULL));
	assert_true(ps_trace_reader_seek(r, 0, NULL));
	g_free(last);
	last = text_of_reader(r, NULL);
	assert_string_equal(last, whole);
	ps_trace_reader_free(r);
	g_free(last);
	g_free(whole);
	close(fd);
}

/* Expect: the same from something that cannot seek, and a clear no to the index. */
static void a_pipe_is_read_without_the_index(void **state)
{
	int fd, pair[2];
	struct ps_trace_writer *w = new_writer(&fd, 1, 8);
	GString *bytes;
	char *direct, *piped;
	GError *error = NULL;
	struct ps_trace_reader *r;

	write_everything(w);
	finish(w);
	bytes = bytes_of(fd);
	direct = text_of(fd, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(write(pair[0], bytes->str, bytes->len), bytes->len);
	close(pair[0]);
	r = ps_trace_reader_new(pair[1], "pipe", &error);
	assert_non_null(r);
	assert_false(ps_trace_reader_load_index(r, &error));
	assert_non_null(strstr(error->message, "cannot seek"));
	g_error_free(error);
	piped = text_of_reader(r, NULL);
	assert_string_equal(piped, direct);
	ps_trace_reader_free(r);
	g_free(piped);
	g_free(direct);
	g_string_free(bytes, true);
	close(pair[1]);
	close(fd);
}

static void a_copy_is_the_same_trace(void **state)
{
	int fd, copy;
	struct ps_trace_writer *w = new_writer(&fd, 1, 8);
	struct ps_trace_reader *r;
	char *a, *b;

	write_everything(w);
	finish(w);
	lseek(fd, 0, SEEK_SET);
	r = ps_trace_reader_new(fd, "original", NULL);
	w = new_writer(&copy, 1, 0);
	assert_true(ps_trace_copy(r, w, NULL));
	finish(w);
	ps_trace_reader_free(r);
	a = text_of(fd, NULL);
	b = text_of(copy, NULL);
	assert_string_equal(a, b);
	g_free(a);
	g_free(b);
	close(fd);
	close(copy);
}

/* ---- damage ---- */

static GString *small_trace(void)
{
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 8);
	GString *bytes;

	write_everything(w);
	finish(w);
	bytes = bytes_of(fd);
	close(fd);
	return bytes;
}

/* The batches of @text, without header and totals. */
static char *body(const char *text)
{
	const char *begin = strstr(text, "\n@"), *end = strstr(text, "\ntotal ");

	return begin ? g_strndup(begin, end ? (size_t)(end - begin) : strlen(begin)) : g_strdup("");
}

/*
 * Cut after every byte. Expect: one error that says where, and whatever was handed out is a beginning of the whole, frame by
 * frame.
 */
static void a_trace_cut_anywhere_gives_its_beginning_and_one_error(void **state)
{
	GString *bytes = small_trace();
	int fd = file_of(bytes->str, bytes->len);
	char *text = text_of(fd, NULL), *whole = body(text);
	size_t longest = 0;

	g_free(text);
	for (size_t n = bytes->len; n--;) {
		char *error, *part;

		assert_int_equal(ftruncate(fd, (off_t)n), 0);
		text = text_of(fd, &error);
		part = body(text);
		assert_non_null(error);
		if (n) {
			assert_non_null(strstr(error, "byte "));
			assert_null(strchr(error, '\n'));
		}
		assert_int_equal(strncmp(whole, part, strlen(part) - (*part ? 1 : 0)), 0);
		if (n == bytes->len - 1)
			longest = strlen(part);
		assert_true(strlen(part) <= longest);
		g_free(part);
		g_free(text);
		g_free(error);
	}
	/* All frames were whole when only the last byte was missing. */
	assert_true(longest >= strlen(whole));
	g_free(whole);
	g_string_free(bytes, true);
	close(fd);
}

/* Every byte inverted, and every single bit. Expect: an error each time; nothing wrong is handed out before it. */
static void a_flipped_bit_anywhere_is_one_error(void **state)
{
	GString *bytes = small_trace();
	int fd = file_of(bytes->str, bytes->len);
	char *text = text_of(fd, NULL), *whole = body(text);

	g_free(text);
	for (size_t n = 0; n < bytes->len; n++) {
		for (int bit = 0; bit <= 8; bit++) {
			u8 damaged = (u8)bytes->str[n] ^ (bit == 8 ? 0xff : 1u << bit);
			char *error, *part;

			assert_int_equal(pwrite(fd, &damaged, 1, (off_t)n), 1);
			text = text_of(fd, &error);
			part = body(text);
			if (!error)
				fail_msg("byte %zu bit %d: not noticed", n, bit);
			assert_null(strchr(error, '\n'));
			assert_int_equal(strncmp(whole, part, strlen(part) - (*part ? 1 : 0)), 0);
			g_free(part);
			g_free(text);
			g_free(error);
		}
		assert_int_equal(pwrite(fd, &bytes->str[n], 1, (off_t)n), 1);
	}
	g_free(whole);
	g_string_free(bytes, true);
	close(fd);
}

/* The same for the index alone, read from the end. */
static void a_damaged_index_is_not_used(void **state)
{
	GString *bytes = small_trace();
	int fd = file_of(bytes->str, bytes->len);
	size_t index = (size_t)pgt_get64((const u8 *)bytes->str + bytes->len - PGT_FOOTER_BYTES + 8);

	assert_true(index > 0 && index < bytes->len);
	for (size_t n = index; n < bytes->len; n++) {
		u8 damaged = (u8)bytes->str[n] ^ 0x10;
		struct ps_trace_reader *r;
		GError *error = NULL;
		size_t frames;

		assert_int_equal(pwrite(fd, &damaged, 1, (off_t)n), 1);
		lseek(fd, 0, SEEK_SET);
		r = ps_trace_reader_new(fd, "index", NULL);
		assert_non_null(r);
		assert_false(ps_trace_reader_load_index(r, &error));
		assert_non_null(error);
		g_error_free(error);
		ps_trace_reader_frames(r, &frames);
		assert_int_equal(frames, 0);
		ps_trace_reader_free(r);
		assert_int_equal(pwrite(fd, &bytes->str[n], 1, (off_t)n), 1);
	}
	g_string_free(bytes, true);
	close(fd);
}

static void expect_error(GString *bytes, const char *words)
{
	int fd = file_of(bytes->str, bytes->len);
	char *error, *text = text_of(fd, &error);

	assert_non_null(error);
	if (!strstr(error, words))
		fail_msg("expected '%s' in '%s'", words, error);
	g_free(error);
	g_free(text);
	close(fd);
}

/* The version is looked at before anything a newer one might do differently. */
static void a_newer_version_says_so(void **state)
{
	GString *bytes = small_trace();

	bytes->str[8] = PS_PGT_VERSION + 1;
	expect_error(bytes, "written by a newer pagesim: expected format version 1 or older, found 2");
	g_string_truncate(bytes, 10);
	expect_error(bytes, "written by a newer pagesim");
	g_string_free(bytes, true);
}

static void more_bytes_after_the_end_are_an_error(void **state)
{
	GString *bytes = small_trace();

	g_string_append_c(bytes, 0);
	expect_error(bytes, "expected the end of the file, found more bytes");
	g_string_free(bytes, true);
}

/* Stored size of the section at @at, with its head. */
static size_t section_bytes(const GString *bytes, size_t at)
{
	struct pgt_section s;
	size_t n = PGT_SECTION_BYTES;

	pgt_section_decode(&s, (const u8 *)bytes->str + at);
	for (int c = 0; c < PGT_COLUMNS; c++)
		n += s.stored[c];
	return n;
}

static void frames_in_the_wrong_order_are_an_error(void **state)
{
	GString *bytes = small_trace(), *swapped = g_string_new(NULL);
	size_t header = pgt_get32((const u8 *)bytes->str + LENGTH_OF_HEADER);
	size_t first = section_bytes(bytes, header), second = section_bytes(bytes, header + first);

	g_string_append_len(swapped, bytes->str, (gssize)header);
	g_string_append_len(swapped, bytes->str + header + first, (gssize)second);
	g_string_append_len(swapped, bytes->str + header, (gssize)first);
	g_string_append_len(swapped, bytes->str + header + first + second,
			    (gssize)(bytes->len - header - first - second));
	expect_error(swapped, "expected frame 0, found frame 1");
	/* One left out. */
	g_string_erase(swapped, (gssize)header, (gssize)second);
	g_string_erase(swapped, (gssize)header, (gssize)first);
	expect_error(swapped, "expected frame 0, found frame 2");
	g_string_free(swapped, true);
	g_string_free(bytes, true);
}

static void what_is_no_trace_says_what_it_is(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *words;
	} cases[] = {
		{ "", 0, "expected a trace, found an empty file" },
		{ "\x7f"
		  "ELF\x02\x01",
		  6, "expected a trace, found an unknown kind of file" },
		{ "I  04016b80,3\n", 14, "expected a trace, found lackey output of valgrind: 'pagesim convert'" },
		{ "==12== Lackey, an example\n", 26, "found lackey output of valgrind" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = file_of(cases[i].bytes, cases[i].n);
		char *error, *text = text_of(fd, &error);

		if (!error || !strstr(error, cases[i].words))
			fail_msg("expected '%s' in '%s'", cases[i].words, error);
		g_free(error);
		g_free(text);
		close(fd);
	}
	GError *error = NULL;

	assert_null(ps_trace_reader_open("/nonexistent/trace", &error));
	assert_non_null(strstr(error->message, "/nonexistent/trace: cannot open: "));
	g_clear_error(&error);
	assert_null(ps_trace_reader_open("/tmp", &error));
	assert_non_null(strstr(error->message, "/tmp: expected a trace, found a directory"));
	g_clear_error(&error);
}

/* ---- writers in trouble ---- */

static void what_cannot_be_written_is_reported_by_finish(void **state)
{
	struct ps_event bad_kind = { .kind = PS_EVENT_KINDS, .name = "" };
	struct ps_event bad_task = { .kind = PS_EVENT_EXIT, .task = PS_TASK_MAX, .name = "" };
	struct ps_event bad_other = { .kind = PS_EVENT_FORK, .other = PS_TASK_MAX, .name = "" };
	struct ps_trace_writer *w;
	GError *error = NULL;
	int fd;

	for (int i = 0; i < 7; i++) {
		w = new_writer(&fd, 1, 0);
		if (i == 0)
			ps_trace_writer_event(w, &bad_kind);
		else if (i == 1)
			ps_trace_writer_event(w, &bad_task);
		else if (i == 2)
			ps_trace_writer_event(w, &bad_other);
		else if (i == 3)
			ps_trace_writer_access(w, PS_TASK_MAX, 1, PS_ACCESS_READ, 0);
		else if (i == 4)
			ps_trace_writer_access(w, 0, PS_TRACE_VPN_END, PS_ACCESS_READ, 0);
		else if (i == 5)
			ps_trace_writer_record(w, 0, 1, 0, 0);
		else
			ps_trace_writer_record(w, 0, 1, PS_META_FETCH | ps_meta_data(1, 1, false), 0);
		ps_trace_writer_access(w, 0, 1, PS_ACCESS_READ, 0);
		assert_false(ps_trace_writer_ok(w, NULL));
		assert_false(ps_trace_writer_finish(w, &error));
		assert_true(error->code == PS_TRACE_ERROR_ARGUMENT);
		g_clear_error(&error);
		ps_trace_writer_free(w);
		close(fd);
	}
}

static void a_full_disk_is_an_error(void **state)
{
	int fd = open("/dev/full", O_WRONLY);
	struct ps_trace_writer *w;
	GError *error = NULL;

	if (fd < 0)
		skip();
	w = ps_trace_writer_new(fd, "full.pgt", &scene_info, NULL, &error);
	ps_trace_writer_access(w, 0, 1, PS_ACCESS_READ, 0);
	assert_false(ps_trace_writer_finish(w, &error));
	assert_non_null(strstr(error->message, "full.pgt: cannot write: "));
	g_error_free(error);
	ps_trace_writer_free(w);
	close(fd);
}

static void the_command_can_be_said_until_the_first_event(void **state)
{
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 0);
	struct ps_event e = { .kind = PS_EVENT_EXIT, .name = "" };
	char *text;

	assert_true(ps_trace_writer_set_command(w, "late words"));
	ps_trace_writer_event(w, &e);
	assert_false(ps_trace_writer_set_command(w, "too late"));
	finish(w);
	text = text_of(fd, NULL);
	assert_non_null(strstr(text, "\ncommand late words\n"));
	g_free(text);
	close(fd);
}

static void impossible_settings_are_refused(void **state)
{
	static const struct ps_trace_writer_settings cases[] = { { .fold = 65 },
								 { .frame_records = (1u << 16) + 1 },
								 { .level = 99 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		GError *error = NULL;

		assert_null(ps_trace_writer_new(1, "no.pgt", &scene_info, &cases[i], &error));
		assert_true(error->code == PS_TRACE_ERROR_ARGUMENT);
		g_error_free(error);
	}
}

/* Every allocation of writing and reading fails once. Expect: an error, no crash, no leak (the sanitizer's to say). */
static void running_out_of_memory_is_an_error(void **state)
{
	for (u64 n = 1;; n++) {
		GError *error = NULL;
		struct ps_trace_writer_settings settings = { .frame_records = 8 };
		struct ps_trace_writer *w;
		struct ps_trace_reader *r = NULL;
		struct ps_trace_batch b;
		int fd = memfd_create("test", MFD_CLOEXEC);
		bool failed = true;

		ps_alloc_fail_nth(n);
		w = ps_trace_writer_new(fd, "memory.pgt", &scene_info, &settings, &error);
		if (w) {
			write_everything(w);
			failed = !ps_trace_writer_finish(w, &error);
			ps_trace_writer_free(w);
		}
		if (!failed) {
			lseek(fd, 0, SEEK_SET);
			r = ps_trace_reader_new(fd, "memory.pgt", &error);
			failed = !r;
		}
		if (r) {
			while (ps_trace_reader_next(r, &b, &error) == PS_TRACE_BATCH)
				;
			failed = error != NULL;
			ps_trace_reader_free(r);
		}
		close(fd);
		assert_true(failed == (error != NULL));
		if (ps_alloc_fail_nth(0)) {
			assert_false(failed);
			assert_true(n > 10);
			break;
		}
		assert_true(failed);
		g_error_free(error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_checksum_is_crc32c),
		cmocka_unit_test(both_ways_to_the_checksum_agree),
		cmocka_unit_test(everything_comes_back_as_it_was_written),
		cmocka_unit_test(an_empty_trace_is_a_trace),
		cmocka_unit_test(folded_counts_are_those_of_the_accesses),
		cmocka_unit_test(a_frame_may_have_any_number_of_shapes),
		cmocka_unit_test(folding_reaches_back_over_as_many_pages_as_asked),
		cmocka_unit_test(fetches_and_data_fold_apart),
		cmocka_unit_test(long_runs_continue_in_a_new_record),
		cmocka_unit_test(time_is_exact_where_batches_meet),
		cmocka_unit_test(any_frame_can_be_read_alone),
		cmocka_unit_test(a_pipe_is_read_without_the_index),
		cmocka_unit_test(a_copy_is_the_same_trace),
		cmocka_unit_test(a_trace_cut_anywhere_gives_its_beginning_and_one_error),
		cmocka_unit_test(a_flipped_bit_anywhere_is_one_error),
		cmocka_unit_test(a_damaged_index_is_not_used),
		cmocka_unit_test(a_newer_version_says_so),
		cmocka_unit_test(more_bytes_after_the_end_are_an_error),
		cmocka_unit_test(frames_in_the_wrong_order_are_an_error),
		cmocka_unit_test(what_is_no_trace_says_what_it_is),
		cmocka_unit_test(what_cannot_be_written_is_reported_by_finish),
		cmocka_unit_test(a_full_disk_is_an_error),
		cmocka_unit_test(the_command_can_be_said_until_the_first_event),
		cmocka_unit_test(impossible_settings_are_refused),
		cmocka_unit_test(running_out_of_memory_is_an_error),
	};

	return cmocka_run_group_tests_name("trace-pgt", tests, NULL, NULL);
}
