/* SPDX-License-Identifier: MIT */
/*
 * The host runs out of memory: whatever request fails, there is one error that says so, what was counted before it counts, and
 * everything is given back. Every request is made to fail once, the first, the second, ..., until nobody asks any more.
 *
 * Messages, and the texts of a report, are glib's: without memory for a line of text, glib ends the process.
 */
#include "replay/scene.h"

#include <pagesim/script.h>
#include <pagesim/trace_text.h>

static const char body[] = "@0 0 start other=- pid=812 tid=1 name=./prog -x\n"
			   "@0 0 mmap at=1000+64 prot=3 flags=34 offset=0 name=\n"
			   "@0 0 mmap at=2000+16 prot=3 flags=1 offset=0 name=/data\n"
			   "@0+80 0\n 1000 w4r2\n 1001 w1\n 1002 r1\n 2000 r3\n 2001 w1\n"
			   "@90 0 fork other=1 pid=813 tid=813\n"
			   "@90+80 1\n 1000 w1\n 1001 r1\n"
			   "@180 1 exit\n"
			   "@190 0 munmap at=1000+64\n"
			   "@200 0 exit\n";

/* One message, of one line, that says what is missing. */
static void assert_no_memory(GError *error)
{
	assert_non_null(error);
	if (!strstr(error->message, "out of memory") && !strstr(error->message, "out of host memory"))
		fail_msg("%s", error->message);
	assert_null(strchr(error->message, '\n'));
	g_error_free(error);
}

static void assert_nothing_left(void)
{
	struct ps_alloc_counts counts;

	ps_alloc_counts(&counts);
	assert_int_equal(counts.live, 0);
	assert_int_equal(counts.reserved_bytes, 0);
}

/* Reads a trace and replays it. Return: whether it all went well. */
static bool replay_file(int fd, u64 *ret_accesses, GError **error)
{
	struct ps_replay_settings settings = { .interval_ns = 500, .policy = "numa-balancing" };
	struct ps_trace_reader *reader;
	struct ps_replay *replay = NULL;
	struct ps_report report;
	bool ok = false;

	ps_report_init(&report);
	*ret_accesses = 0;
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	reader = ps_trace_reader_new(fd, "x", error);
	if (reader)
		replay = ps_replay_new(scene_spec(256, 256), &settings, error);
	if (replay) {
		GString *text = g_string_new(NULL);

		ok = ps_replay_run(replay, reader, error);
		ps_replay_report(replay, &report);
		*ret_accesses = ps_report_accesses(&report);
		/* What is not complete says so. */
		assert_true(report.complete ? ok : report.stopped != NULL);
		if (ok && !report.complete) {
			ok = false;
			g_set_error_literal(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_MEMORY, report.stopped);
		}
		ps_report_write(&report, PS_REPORT_TABLE, false, 0, text);
		assert_true(text->len > 100);
		g_string_free(text, TRUE);
	}
	ps_report_destroy(&report);
	ps_replay_free(replay);
	ps_trace_reader_free(reader);
	return ok;
}

static void fail_each(int fd)
{
	bool more = true;
	u64 n, whole = 0, seen = 0;

	for (n = 1; more; n++) {
		GError *error = NULL;
		bool ok;
		u64 accesses;

		ps_alloc_fail_nth(n);
		ok = replay_file(fd, &accesses, &error);
		more = !ps_alloc_fail_nth(0);
		assert_nothing_left();
		if (!ok)
			assert_no_memory(error);
		else
			assert_null(error);
		seen += !ok;
		whole = accesses;
	}
	/* The last round had nothing to fail. */
	assert_int_equal(whole, 14);
	assert_true(seen > 20);
	print_message("%llu requests, %llu of them ended the replay\n", (unsigned long long)n - 2,
		      (unsigned long long)seen);
}

static int bulk_file(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	dprintf(fd,
		"# pagesim bulk trace 1\nsource test\ncommand by hand\ncreated-by scene\nnote\nclock accesses\nfold "
		"1\n%send\n",
		body);
	return fd;
}

static void a_replay_of_bulk_text_without_memory_is_one_error(void **state)
{
	int fd = bulk_file();

	(void)state;
	fail_each(fd);
	close(fd);
}

static void a_replay_of_a_binary_trace_without_memory_is_one_error(void **state)
{
	int text = bulk_file(), fd = memfd_create("test", MFD_CLOEXEC);
	struct ps_trace_reader *reader;
	struct ps_trace_writer *writer;
	GError *error = NULL;

	(void)state;
	lseek(text, 0, SEEK_SET);
	reader = ps_trace_reader_new(text, "x", &error);
	assert_non_null(reader);
	writer = ps_trace_writer_new(fd, "x", ps_trace_reader_info(reader), NULL, &error);
	assert_non_null(writer);
	assert_true(ps_trace_copy(reader, writer, &error));
	assert_true(ps_trace_writer_finish(writer, &error));
	ps_trace_writer_free(writer);
	ps_trace_reader_free(reader);
	fail_each(fd);
	close(fd);
	close(text);
}

static void a_script_is_parsed_whole_or_says_that_memory_was_missing(void **state)
{
	static const char text[] = "A start # here\nA mmap r 64K file /d/f at=3\nA mempolicy weighted 0:1,1:2\n"
				   "A move_pages r[0] to 1, r[3:9:2] to 0\nexpect = 0\nrace\n  x: A munmap r\nend\n"
				   "A migrate_pages 0,1 to 1,0\n";
	bool more = true;
	u64 n;

	(void)state;
	for (n = 1; more; n++) {
		struct ps_script *script;

		ps_alloc_fail_nth(n);
		script = ps_script_parse(text, strlen(text), "x.pgs");
		more = !ps_alloc_fail_nth(0);
		if (!more) {
			assert_non_null(script);
			assert_null(script->error);
			assert_int_equal(script->n, 9);
		} else if (script) {
			assert_non_null(script->error);
			assert_non_null(strstr(script->error->message, ": out of memory"));
			assert_true(script->n < 9);
		}
		ps_script_free(script);
		assert_nothing_left();
	}
	assert_true(n > 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_script_is_parsed_whole_or_says_that_memory_was_missing),
		cmocka_unit_test(a_replay_of_bulk_text_without_memory_is_one_error),
		cmocka_unit_test(a_replay_of_a_binary_trace_without_memory_is_one_error),
	};

	return cmocka_run_group_tests(tests, NULL, scene_nothing_left);
}
