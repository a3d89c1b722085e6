/* SPDX-License-Identifier: MIT */
/*
 * The lackey importer, on texts as valgrind 3.19 writes them (shortened): what each line becomes, whose it is, and what happens to lines
 * that are none.
 */
#include "scene.h"
#include "trace/lackey.h"
#include "trace/lackey_line.h"

#include <pagesim/trace_import.h>

#include <stdlib.h>

struct import {
	struct ps_lackey_counts counts;
	char *text;  /* bulk text of the trace, from the first event to the totals */
	char *error; /* or NULL */
};

static void done(struct import *i)
{
	g_free(i->text);
	g_free(i->error);
}

/* Imports by feeding @chunk bytes at a time; 0: all at once. @pid: as a socket would say it. */
static struct import import_in(const char *text, size_t chunk, bool fetches, u32 pid)
{
	struct ps_lackey_settings settings = { .fetches = fetches };
	struct import i = { 0 };
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 0);
	struct ps_lackey *lackey = ps_lackey_new(w, &settings);
	struct ps_lackey_stream *s = ps_lackey_stream_new(lackey, "log", pid);
	size_t n = strlen(text);
	GError *error = NULL;
	char *all, *begin, *end;
	bool ok = true;

	if (!chunk)
		chunk = n;
	for (size_t at = 0; at < n && ok; at += chunk)
		ok = ps_lackey_feed(s, text + at, MIN(chunk, n - at), &error);
	if (ok)
		ok = ps_lackey_stream_end(s, &error);
	assert_true(ok == !error);
	i.error = error ? g_strdup(error->message) : NULL;
	g_clear_error(&error);
	i.counts = *ps_lackey_counts(lackey);
	ps_lackey_finish(lackey);
	ps_lackey_free(lackey);
	finish(w);
	all = text_of(fd, NULL);
	begin = strstr(all, "\nfold 1\n") + strlen("\nfold 1\n");
	end = strstr(all, "total ");
	i.text = g_strndup(begin, (size_t)(end - begin));
	g_free(all);
	close(fd);
	return i;
}

static void check(const char *text, const char *expected)
{
	struct import i = import_in(text, 0, false, 0);

	if (i.error)
		fail_msg("%s", i.error);
	assert_string_equal(i.text, expected);
	done(&i);
}

#define HEADER(pid, command) \
	"==" pid "== Lackey, an example Valgrind tool\n==" pid "== Command: " command "\n==" pid "== \n"
#define START(pid, command) "@0 0 start other=- pid=" pid " tid=1 name=" command "\n"
/* The stack that is concluded from the first data access, here always a push to 1fff0006f8. */
#define STACK_PUSH(time, task) \
	"@" time " " task " mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@" time "+0 " task "\n 1fff000 w1\n"
#define PUSH "I  0401ab70,3\n S 1fff0006f8,8\n"

/* ---- lines ---- */

static void memory_lines_are_read_strictly(void **state)
{
	static const struct {
		const char *line;
		int kind; /* -1: refused */
		u64 address;
		u32 size;
	} cases[] = {
		{ "I  0401ab70,3\n", PS_ACCESS_FETCH, 0x401ab70, 3 },
		{ " S 1fff0006f8,8\n", PS_ACCESS_WRITE, 0x1fff0006f8, 8 },
		{ " L 0,1\n", PS_ACCESS_READ, 0, 1 },
		{ " M ffffffffffffffff,1\n", PS_ACCESS_MODIFY, ~0ull, 1 },
		{ " L 04,512\n", PS_ACCESS_READ, 4, 512 },
		{ " L ffffffffffffffff,2\n", -1, 0, 0 },
		{ " L 10000000000000000,1\n", -1, 0, 0 },
		{ " L ,1\n", -1, 0, 0 },
		{ " L 04\n", -1, 0, 0 },
		{ " L 04,\n", -1, 0, 0 },
		{ " L 04,0\n", -1, 0, 0 },
		{ " L 04,65537\n", -1, 0, 0 },
		{ " L 04,99999999999\n", -1, 0, 0 },
		{ " L 04,8 \n", -1, 0, 0 },
		{ " L 04,8\r\n", -1, 0, 0 },
		{ " L 0x4,8\n", -1, 0, 0 },
		{ " L 0G,8\n", -1, 0, 0 },
		{ " L 0A,8\n", -1, 0, 0 },
		{ " X 04,8\n", -1, 0, 0 },
		{ "L 04,8\n", -1, 0, 0 },
		{ "I 04,8\n", -1, 0, 0 },
		{ "I   04,8\n", -1, 0, 0 },
		{ "\n", -1, 0, 0 },
		{ " \n", -1, 0, 0 },
		{ "I\n", -1, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum ps_access_kind kind;
		u64 address;
		u32 size;
		char line[64] = { 0 };
		const char *end;

		strcpy(line, cases[i].line);
		end = lackey_memory_line(line, &kind, &address, &size);
		if (!end != (cases[i].kind < 0))
			fail_msg("'%s' was %s", cases[i].line, end ? "accepted" : "refused");
		if (!end)
			continue;
		assert_ptr_equal(end, line + strlen(line));
		assert_int_equal(kind, cases[i].kind);
		assert_int_equal(address, cases[i].address);
		assert_int_equal(size, cases[i].size);
	}
}

/* Expect: instructions are the clock, not accesses; a modify is a read and a write; an access over the edge is of both pages. */
static void accesses_become_records(void **state)
{
	struct import i = import_in(HEADER("12", "prog -x") PUSH "I  0401ab73,5\n L 1fff000700,8\n M 1fff000708,4\n"
								 "I  0401affe,5\n S 1fff000ffc,8\n",
				    0, false, 0);

	assert_null(i.error);
	assert_string_equal(i.text, START("12", "prog -x") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n"
							   "@1+2 0\n 1fff000 w3r2\n"
							   "@3 0 mmap at=1fff001+1 prot=3 flags=36 offset=0 name=\n"
							   "@3+0 0\n 1fff001 w1\n");
	assert_int_equal(i.counts.lines, 10);
	assert_int_equal(i.counts.fetches, 3);
	assert_int_equal(i.counts.loads, 1);
	assert_int_equal(i.counts.stores, 2);
	assert_int_equal(i.counts.modifies, 1);
	assert_int_equal(i.counts.store_crossings, 1);
	assert_int_equal(i.counts.fetch_crossings, 1);
	assert_int_equal(i.counts.load_crossings, 0);
	assert_int_equal(i.counts.other_lines, 3);
	done(&i);
}

static void fetches_are_accesses_on_request(void **state)
{
	struct import i = import_in(HEADER("12", "p") "I  00401ffe,4\n S 1fff0006f8,8\nI  00402002,2\n", 0, true, 0);

	assert_null(i.error);
	assert_string_equal(
		i.text,
		START("12",
		      "p") "@1 0 mmap at=401+1 prot=7 flags=48 offset=0 name=\n@1+0 0\n 401 x1\n"
			   "@1 0 mmap at=402+1 prot=7 flags=48 offset=0 name=\n@1+0 0\n 402 x1\n"
			   "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+1 0\n 1fff000 w1\n 402 x1\n");
	done(&i);
}

/* Expect: pages mapped by calls need no inference, pages unmapped do again. */
static void mappings_come_from_calls_or_are_inferred(void **state)
{
	check(HEADER("12", "p") PUSH
	      "SYSCALL[12,1](12) sys_brk ( 0x0 ) --> [pre-success] Success(0x4035000) \n"
	      "SYSCALL[12,1](12) sys_brk ( 0x4038000 ) --> [pre-success] Success(0x4038000) \n"
	      " S 04037ff8,8\n"
	      "SYSCALL[12,1](9) sys_mmap ( 0x0, 8193, 3, 34, 4294967295, 0 ) --> [pre-success] Success(0x4835000) \n"
	      " L 04837000,8\n"
	      " L 00108000,8\n"
	      " L 00109000,8\n"
	      " L 00108008,8\n"
	      "SYSCALL[12,1](10) sys_mprotect ( 0x108000, 12288, 1 )[sync] --> Success(0x0) \n"
	      "SYSCALL[12,1](11) sys_munmap ( 0x4836000, 4096 )[sync] --> Success(0x0) \n"
	      " L 04836000,8\n"
	      "SYSCALL[12,1](25) sys_mremap ( 0x4837000, 4096, 12288, 0x1 ) --> [pre-success] Success(0x5000000) \n"
	      " L 05002000,8\n"
	      "SYSCALL[12,1](28) sys_madvise ( 0x5000000, 8192, 4 ) --> [async] ... \n"
	      "SYSCALL[12,1](28) ... [async] --> Success(0x0) \n"
	      "SYSCALL[12,1](12) sys_brk ( 0x4036000 ) --> [pre-success] Success(0x4036000) \n"
	      "SYSCALL[12,1](9) sys_mmap ( 0x0, 4096, 3, 50, 7, 0 ) --> [pre-fail] Failure(0xc) \n"
	      "SYSCALL[12,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n",
	      START("12", "p") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+0 0\n 1fff000 w1\n"
			       "@1 0 brk at=4035+3\n@1+0 0\n 4037 w1\n"
			       "@1 0 mmap at=4835+3 prot=3 flags=0 offset=0 name=\n@1+0 0\n 4837 r1\n"
			       "@1 0 mmap at=108+1 prot=3 flags=48 offset=0 name=\n@1+0 0\n 108 r1\n"
			       "@1 0 mmap at=109+1 prot=3 flags=48 offset=0 name=\n@1+0 0\n 109 r1\n 108 r1\n"
			       "@1 0 mmap at=10a+1 prot=3 flags=48 offset=0 name=\n@1 0 mprotect at=108+3 prot=1\n"
			       "@1 0 munmap at=4836+1\n"
			       "@1 0 mmap at=4836+1 prot=3 flags=48 offset=0 name=\n@1+0 0\n 4836 r1\n"
			       "@1 0 mremap at=4837+1 to=5000+3\n@1+0 0\n 5002 r1\n"
			       "@1 0 madvise at=5000+2 advice=4\n"
			       "@1 0 brk at=4035+1\n"
			       "@1 0 exit\n");
}

/* Expect: descriptors lead to names through open, openat, dup, fcntl and close; positions follow reads, writes and lseek. */
static void files_are_followed_through_their_descriptors(void **state)
{
	check(HEADER("12", "p") PUSH
	      "SYSCALL[12,1](257) sys_openat ( 4294967196, 0x4034bb0(/a b (c), 1)), 577, 420 ) --> [async] ... \n"
	      "SYSCALL[12,1](257) ... [async] --> Success(0x3) \n"
	      "SYSCALL[12,1](1) sys_write ( 3, 0x1fff000ff8, 5000 ) --> [async] ... \n"
	      "SYSCALL[12,1](1) ... [async] --> Success(0x64) \n"
	      "SYSCALL[12,1](33) sys_dup2 ( 3, 9 )[sync] --> Success(0x9) \n"
	      "SYSCALL[12,1](3) sys_close ( 3 )[sync] --> Success(0x0) \n"
	      "SYSCALL[12,1](72) sys_fcntl[ARG3=='arg'] ( 9, 0, 10 )[sync] --> Success(0xa) \n"
	      "SYSCALL[12,1](0) sys_read ( 10, 0x1fff000000, 16 ) --> [async] ... \n"
	      "SYSCALL[12,1](0) ... [async] --> Success(0x8) \n"
	      "SYSCALL[12,1](8) sys_lseek ( 9, 4096, 0 )[sync] --> Success(0x1000) \n"
	      "SYSCALL[12,1](17) sys_pread64 ( 9, 0x1fff000000, 784, 64 ) --> [async] ... \n"
	      "SYSCALL[12,1](17) ... [async] --> Success(0x310) \n"
	      "SYSCALL[12,1](20) sys_writev ( 10, 0x1fff000000, 2 ) --> [async] ... \n"
	      "SYSCALL[12,1](20) ... [async] --> Success(0x20) \n"
	      "SYSCALL[12,1](77) sys_ftruncate ( 9, 65536 ) --> [async] ... \n"
	      "SYSCALL[12,1](77) ... [async] --> Success(0x0) \n"
	      "SYSCALL[12,1](74) sys_fsync ( 9 ) --> [async] ... \n"
	      "SYSCALL[12,1](74) ... [async] --> Success(0x0) \n"
	      "SYSCALL[12,1](9) sys_mmap ( 0x0, 4096, 1, 1, 9, 8192 ) --> [pre-success] Success(0x4835000) \n"
	      "SYSCALL[12,1](9) sys_mmap ( 0x0, 4096, 1, 2, 77, 0 ) --> [pre-success] Success(0x4836000) \n"
	      "SYSCALL[12,1](0) sys_read ( 0, 0x1fff000000, 16 ) --> [async] ... \n"
	      "SYSCALL[12,1](0) ... [async] --> Success(0x0) \n"
	      "SYSCALL[12,1](0) sys_read ( 0, 0x1fff000000, 16 ) --> [async] ... \n"
	      "SYSCALL[12,1](0) ... [async] --> Success(0x3) \n"
	      "SYSCALL[12,1](257) sys_openat ( 4294967196, 0x4034bb0(sub), 65536 ) --> [async] ... \n"
	      "SYSCALL[12,1](257) ... [async] --> Success(0x3) \n"
	      "SYSCALL[12,1](257) sys_openat ( 3, 0x4034bb0(file), 0 ) --> [async] ... \n"
	      "SYSCALL[12,1](257) ... [async] --> Success(0x4) \n",
	      START("12", "p") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+0 0\n 1fff000 w1\n"
			       "@1 0 open name=/a b (c), 1)\n@1 0 truncate length=0 name=/a b (c), 1)\n"
			       "@1 0 mmap at=1fff001+1 prot=3 flags=36 offset=0 name=\n"
			       "@1 0 write at=1fff000+2 offset=0 length=100 name=/a b (c), 1)\n"
			       "@1 0 read at=1fff000+1 offset=100 length=8 name=/a b (c), 1)\n"
			       "@1 0 read at=1fff000+1 offset=64 length=784 name=/a b (c), 1)\n"
			       "@1 0 write at=0+0 offset=4096 length=32 name=/a b (c), 1)\n"
			       "@1 0 truncate length=65536 name=/a b (c), 1)\n"
			       "@1 0 fsync name=/a b (c), 1)\n"
			       "@1 0 mmap at=4835+1 prot=1 flags=1 offset=8192 name=/a b (c), 1)\n"
			       "@1 0 mmap at=4836+1 prot=1 flags=0 offset=0 name=fd:77\n"
			       "@1 0 read at=1fff000+1 offset=0 length=3 name=\n"
			       "@1 0 open name=sub\n"
			       "@1 0 open name=sub/file\n");
}

/* Expect: what the kernel read into or wrote from is not known (the vector is in memory), but how much of which file is. */
static void vectors_move_data_at_the_position_or_at_an_offset(void **state)
{
	check(HEADER("12", "p") PUSH
	      "SYSCALL[12,1](257) sys_openat ( 4294967196, 0x4034bb0(/f), 66, 384 )[sync] --> Success(0x3) \n"
	      "SYSCALL[12,1](20) sys_writev ( 3, 0x1fff0005b0, 2 ) --> [async] ... \n"
	      "SYSCALL[12,1](20) ... [async] --> Success(0x1f40) \n"
	      "SYSCALL[12,1](296) sys_pwritev ( 3, 0x1fff0005b0, 2, 8192 )[sync] --> Success(0x64) \n"
	      "SYSCALL[12,1](295) sys_preadv ( 3, 0x1fff0005b0, 2, 4096 )[sync] --> Success(0x64) \n"
	      "SYSCALL[12,1](19) sys_readv ( 3, 0x1fff0005b0, 2 )[sync] --> Success(0x8) \n"
	      "SYSCALL[12,1](328) sys_pwritev2 ( 3, 0x1fff0005b0, 2, -1, 0x0, 0x0 )[sync] --> Success(0x10) \n"
	      "SYSCALL[12,1](327) sys_preadv2 ( 3, 0x1fff0005b0, 2, 12288, 0x0, 0x0 )[sync] --> Success(0x10) \n",
	      START("12", "p") STACK_PUSH("1", "0") "@1 0 open name=/f\n"
						    "@1 0 write at=0+0 offset=0 length=8000 name=/f\n"
						    "@1 0 write at=0+0 offset=8192 length=100 name=/f\n"
						    "@1 0 read at=0+0 offset=4096 length=100 name=/f\n"
						    "@1 0 read at=0+0 offset=8000 length=8 name=/f\n"
						    "@1 0 write at=0+0 offset=8008 length=16 name=/f\n"
						    "@1 0 read at=0+0 offset=12288 length=16 name=/f\n");
}

/*
 * Expect: an attachment is as large as shmget() said, by all who attach it; a detachment takes all of it away; one whose size nobody
 * said is left to inference.
 */
static void shared_memory_is_as_large_as_it_was_made(void **state)
{
	check(HEADER("12", "p") PUSH "SYSCALL[12,1](29) sys_shmget ( 0, 65537, 896 )[sync] --> Success(0x7) \n"
				     "SYSCALL[12,1](29) sys_shmget ( 0, 0, 0 )[sync] --> Success(0x7) \n"
				     "SYSCALL[12,1](30) sys_shmat ( 7, 0x0, 0 )[sync] --> Success(0x4a58000) \n"
				     " S 04a58000,8\n"
				     "SYSCALL[12,1](30) sys_shmat ( 7, 0x0, 4096 )[sync] --> Success(0x4b00000) \n"
				     "SYSCALL[12,1](30) sys_shmat ( 8, 0x0, 0 )[sync] --> Success(0x4c00000) \n"
				     "SYSCALL[12,1](67) sys_shmdt ( 0x4a58000 )[sync] --> Success(0x0) \n"
				     "SYSCALL[12,1](67) sys_shmdt ( 0x4c00000 )[sync] --> Success(0x0) \n"
				     " L 04a58000,8\n L 04b10000,8\n",
	      START("12", "p") STACK_PUSH("1", "0") "@1 0 mmap at=4a58+17 prot=3 flags=1 offset=0 name=shm:7\n"
						    "@1+0 0\n 4a58 w1\n"
						    "@1 0 mmap at=4b00+17 prot=1 flags=1 offset=0 name=shm:7\n"
						    "@1 0 munmap at=4a58+17\n"
						    "@1 0 mmap at=4a58+1 prot=3 flags=48 offset=0 name=\n"
						    "@1+0 0\n 4a58 r1\n 4b10 r1\n");
}

/* Expect: relative paths are below the last chdir or fchdir; what is below a directory nobody named stays as it is. */
static void relative_paths_follow_the_current_directory(void **state)
{
	check(HEADER("12", "p") PUSH
	      "SYSCALL[12,1](2) sys_open ( 0x1(a), 0 )[sync] --> Success(0x3) \n"
	      "SYSCALL[12,1](80) sys_chdir ( 0x1(sub) )[sync] --> Success(0x0) \n"
	      "SYSCALL[12,1](2) sys_open ( 0x1(b), 0 )[sync] --> Success(0x3) \n"
	      "SYSCALL[12,1](80) sys_chdir ( 0x1(/home) )[sync] --> Success(0x0) \n"
	      "SYSCALL[12,1](2) sys_open ( 0x1(.//c), 0 )[sync] --> Success(0x3) \n"
	      "SYSCALL[12,1](80) sys_chdir ( 0x1(x/) )[sync] --> Success(0x0) \n"
	      "SYSCALL[12,1](80) sys_chdir ( 0x1(/none) )[sync] --> Failure(0x2) \n"
	      "SYSCALL[12,1](257) sys_openat ( 4294967196, 0x1(d), 0 )[sync] --> Success(0x4) \n"
	      "SYSCALL[12,1](257) sys_openat ( 4294967196, 0x1(/e), 0 )[sync] --> Success(0x5) \n"
	      "SYSCALL[12,1](257) sys_openat ( 9, 0x1(f), 0 )[sync] --> Success(0x6) \n"
	      "SYSCALL[12,1](81) sys_fchdir ( 5 )[sync] --> Success(0x0) \n"
	      "SYSCALL[12,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   "
	      "clone(fork): process 12 created child 13\n"
	      " --> [pre-success] Success(0xd) \n"
	      "SYSCALL[13,1](76) sys_truncate ( 0x1(g), 4096 )[sync] --> Success(0x0) \n",
	      START("12", "p") STACK_PUSH("1", "0") "@1 0 open name=a\n@1 0 open name=b\n@1 0 open name=/home/c\n"
						    "@1 0 open name=/home/x/d\n@1 0 open name=/e\n@1 0 open name=f\n"
						    "@1 0 fork other=1 pid=13 tid=1\n"
						    "@1 1 truncate length=4096 name=/e/g\n");
}

/* What a process that is asked answers: two segments, the second one's first page already protected, and its zeroed data. */
static char *some_maps(void *arg, u32 pid, const char *command)
{
	unsigned int *asked = arg;

	++*asked;
	assert_string_equal(command, *asked == 1 ? "p" : "q");
	return *asked > 1
		       ? NULL
		       : ps_strdup("00108000-0010a000 r--p 00000000 fe:00 248056                             "
				   "/usr/bin/a b\n"
				   "0010a000-0010c000 r-xp 00002000 fe:00 248056                             "
				   "/usr/bin/a b\n"
				   "0010d000-0010e000 r--p 00004000 fe:00 248056                             "
				   "/usr/bin/a b\n"
				   "0010e000-00110000 rw-p 00005000 fe:00 248056                             "
				   "/usr/bin/a b\n"
				   "00110000-00118000 rw-p 00000000 00:00 0 \n"
				   "00118000-00119000 rwxp 00000000 00:00 0 \n"
				   "7ffcdbe02000-7ffcdbe23000 rw-p 00000000 00:00 0                          [stack]\n"
				   "not a line of it\n");
}

/*
 * Expect: a page of the image brings its whole segment, but not what was mapped over it; what no file explains is inferred page by
 * page; a child has its parent's image, and a new program has none when nobody can say.
 */
static void a_process_that_can_be_asked_has_its_image_named(void **state)
{
	static const char text[] = HEADER("12", "p") PUSH
		" L 00108008,8\nI  0010b000,4\n"
		"SYSCALL[12,1](9) sys_mmap ( 0x112000, 4096, 3, 50, 7, 0 )[sync] --> Success(0x112000) \n"
		" S 00117000,8\n S 00110000,8\n L 00118000,8\n"
		"SYSCALL[12,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   "
		"clone(fork): process 12 created child 13\n"
		" --> [pre-success] Success(0xd) \n"
		"SYSCALL[13,1](10) sys_mprotect ( 0x10d000, 8192, 1 )[sync] --> Success(0x0) \n"
		"SYSCALL[13,1](2) sys_open ( 0x1(x), 0 )[sync] --> Success(0x3) \n" HEADER(
			"12", "q") " L 0010d000,8\n L 0010d000,8\n";
	unsigned int asked = 0;
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 0);
	struct ps_lackey *lackey = ps_lackey_new(w, NULL);
	struct ps_lackey_stream *s = ps_lackey_stream_new(lackey, "log", 0);
	char *found;

	lackey_watch(lackey, "/work", some_maps, &asked);
	assert_true(ps_lackey_feed(s, text, strlen(text), NULL));
	assert_true(ps_lackey_stream_end(s, NULL));
	ps_lackey_free(lackey);
	finish(w);
	assert_int_equal(asked, 2);
	found = text_of(fd, NULL);
	*strstr(found, "total ") = 0;
	assert_string_equal(
		strstr(found, "@0 0 start"),
		START("12", "p") STACK_PUSH(
			"1", "0") "@1 0 mmap at=108+2 prot=1 flags=48 offset=0 name=/usr/bin/a b\n@1+1 0\n 108 r1\n"
				  "@2 0 mmap at=112+1 prot=3 flags=0 offset=0 name=\n"
				  "@2 0 mmap at=113+5 prot=3 flags=48 offset=0 name=\n@2+0 0\n 117 w1\n"
				  "@2 0 mmap at=110+2 prot=3 flags=48 offset=0 name=\n@2+0 0\n 110 w1\n"
				  "@2 0 mmap at=118+1 prot=3 flags=48 offset=0 name=\n@2+0 0\n 118 r1\n"
				  "@2 0 fork other=1 pid=13 tid=1\n"
				  "@2 1 mmap at=10d+1 prot=3 flags=48 offset=16384 name=/usr/bin/a b\n"
				  "@2 1 mmap at=10e+2 prot=3 flags=48 offset=20480 name=/usr/bin/a b\n"
				  "@2 1 mprotect at=10d+2 prot=1\n"
				  "@2 1 open name=/work/x\n"
				  "@2 0 exec name=q\n"
				  "@2 0 mmap at=0+270 prot=3 flags=36 offset=0 name=\n@2+0 0\n 10d r2\n");
	g_free(found);
	close(fd);
}

/* ---- who runs ---- */

/* Expect: with --trace-sched every access is of the thread that ran; without it, of the one that made the last system call. */
static void threads_are_told_apart(void **state)
{
	check(HEADER("12", "p") "--12--   SCHED[1]:  acquired lock (thread_wrapper(starting new thread))\n" PUSH
				"SYSCALL[12,1](56) sys_clone ( 3d0f00, 0x522ff70, 0x5230990, 0x5230990, 0x52306c0 ) "
				"--> [pre-success] Success(0x2675) "
				"--12--   SCHED[1]: releasing lock (VG_(vg_yield)) -> VgTs_Yielding\n"
				"--12--   SCHED[2]:  acquired lock (thread_wrapper(starting new thread))\n"
				"\n"
				" S 1fff0006f0,8\n"
				"--12--   SCHED[2]: releasing lock (VG_(scheduler):timeslice) -> VgTs_Yielding\n"
				"--12--   SCHED[1]:  acquired lock (VG_(vg_yield))\n"
				" S 1fff0006e8,8\n"
				"SYSCALL[12,2](202) sys_futex ( 0x5230990, 265, 9845, 0x0, 0x0 ) --> [async] ... \n"
				" S 1fff0006e8,8\n"
				"SYSCALL[12,2](60) exit( 0 ) --> [pre-success] Success(0x0) \n"
				" S 1fff0006e8,8\n",
	      START("12", "p") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+0 0\n 1fff000 w1\n"
			       "@1 0 thread other=1 pid=12 tid=2\n@1+0 1\n 1fff000 w1\n@1+0 0\n 1fff000 w1\n@1+0 1\n "
			       "1fff000 w1\n"
			       "@1 1 exit\n@1+0 0\n 1fff000 w1\n");
}

/*
 * A shell forks, the child executes, all in one text without names (--log-fd, --trace-children): the child's half of the
 * fork, its calls and its header tell who goes on.
 */
static void a_mixed_text_follows_forks_as_far_as_it_says(void **state)
{
	check(HEADER("12", "sh") PUSH "SYSCALL[12,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   "
				      "clone(fork): process 12 created child 13\n"
				      " --> [pre-success] Success(0xd) \n"
				      " S 1fff0006f8,8\n"
				      " --> [pre-success] Success(0x0) \n"
				      " L 1fff0006f8,8\n"
				      "SYSCALL[13,1](59) sys_execve ( 0x4035d18(/bin/true), 0x129918, 0x4035bc8 "
				      ")==13== Lackey, an example Valgrind tool\n"
				      "==13== Command: /bin/true\n"
				      "==13== \n" PUSH
				      "SYSCALL[13,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n"
				      "SYSCALL[12,1](61) sys_wait4 ( 4294967295, 0x0, 0, 0x0 ) --> [async] ... \n"
				      "SYSCALL[12,1](61) ... [async] --> Success(0xd) \n"
				      " L 1fff0006f8,8\n",
	      START("12", "sh") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+0 0\n 1fff000 w1\n"
				"@1 0 fork other=1 pid=13 tid=1\n@1+0 0\n 1fff000 w1\n@1+0 1\n 1fff000 r1\n"
				"@1 1 exec name=/bin/true\n"
				"@2 1 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@2+0 1\n 1fff000 w1\n"
				"@2 1 exit\n@2+0 0\n 1fff000 r1\n");
}

/* The child executes a program that is not traced: it ends, for us, when its parent has waited for it. */
static void a_child_that_left_the_trace_ends_when_waited_for(void **state)
{
	check(HEADER("12", "sh") PUSH "SYSCALL[12,1](58) sys_fork ( )   fork: process 12 created child 13\n"
				      " --> [pre-success] Success(0xd) \n"
				      "SYSCALL[12,1](61) sys_wait4 ( 4294967295, 0x0, 0, 0x0 ) --> [async] ... \n"
				      "SYSCALL[12,1](61) ... [async] --> Success(0xd) \n",
	      START("12", "sh") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+0 0\n 1fff000 w1\n"
				"@1 0 fork other=1 pid=13 tid=1\n@1 1 exit\n");
}

/* Two processes write into one text: a line of one inside a line of the other. Expect: no record is lost, no error. */
static void torn_lines_after_a_fork_are_forgiven(void **state)
{
	static const char torn[] =
		HEADER("12", "sh") PUSH "SYSCALL[12,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   "
					"clone(fork): process 12 created child 13\n"
					" --> [pre-success] Success(0xd) \n"
					"sys_close ( 11 )I  0491f861,1\n"
					"[sync] --> Success(0x0)I  0491eebd,3\n"
					" I  0491eec0,6\n"
					"  L 1fff000318,8\n"
					"\n";
	struct import i = import_in(torn, 0, false, 0);

	assert_null(i.error);
	assert_int_equal(i.counts.fetches, 3);
	assert_int_equal(i.counts.loads, 1);
	done(&i);
}

/* Expect: without a fork the same is an error: the text is damaged. */
static void torn_lines_of_one_process_are_errors(void **state)
{
	struct import i = import_in(HEADER("12", "p") PUSH "  L 1fff000318,8\n", 0, false, 0);

	assert_non_null(strstr(i.error, "log:6: expected a line of lackey"));
	done(&i);
}

/*
 * A regression: (1) process 12 ends, (2) its number is used again, (3) the first one's memory was freed then, and once more at the
 * end. Expect: two processes.
 */
static void a_process_number_is_used_again(void **state)
{
	check(HEADER("12", "p") PUSH
	      "SYSCALL[12,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n" HEADER("12", "q") PUSH,
	      START("12", "p") STACK_PUSH("1", "0") "@1 0 exit\n"
						    "@1 1 start other=- pid=12 tid=1 name=q\n" STACK_PUSH("2", "1"));
}

/* A socket says who wrote: the same text without any guessing, the child even before its parent has spoken of it. */
static void named_streams_need_no_guessing(void **state)
{
	static const char parent[] =
		HEADER("12", "sh") PUSH "SYSCALL[12,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   "
					"clone(fork): process 12 created child 13\n"
					" --> [pre-success] Success(0xd) \n"
					" S 1fff0006f8,8\n";
	static const char child[] = " --> [pre-success] Success(0x0) \n L 1fff0006f8,8\n"
				    "SYSCALL[13,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n";
	static const char expected[] = START(
		"12", "sh") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+0 0\n 1fff000 w1\n"
			    "@1 0 fork other=1 pid=13 tid=1\n@1+0 0\n 1fff000 w1\n@1+0 1\n 1fff000 r1\n@1 1 exit\n";

	for (int child_first = 0; child_first < 2; child_first++) {
		int fd;
		struct ps_trace_writer *w = new_writer(&fd, 1, 0);
		struct ps_lackey *lackey = ps_lackey_new(w, NULL);
		struct ps_lackey_stream *a = ps_lackey_stream_new(lackey, "a", 12);
		struct ps_lackey_stream *b = ps_lackey_stream_new(lackey, "b", 13);
		char *text;

		assert_true(ps_lackey_feed(a, HEADER("12", "sh"), strlen(HEADER("12", "sh")), NULL));
		if (child_first)
			assert_true(ps_lackey_feed(b, child, strlen(child), NULL));
		assert_true(ps_lackey_feed(a, parent + strlen(HEADER("12", "sh")),
					   strlen(parent) - strlen(HEADER("12", "sh")), NULL));
		if (!child_first)
			assert_true(ps_lackey_feed(b, child, strlen(child), NULL));
		assert_true(ps_lackey_stream_end(a, NULL));
		assert_true(ps_lackey_stream_end(b, NULL));
		ps_lackey_free(lackey);
		finish(w);
		text = text_of(fd, NULL);
		assert_non_null(strstr(text, expected));
		g_free(text);
		close(fd);
	}
}

static char *write_file(const char *dir, const char *name, const char *text)
{
	char *path = g_build_filename(dir, name, NULL);

	assert_true(g_file_set_contents(path, text, -1, NULL));
	return path;
}

/*
 * --log-file=%p: a file per process, the child's beginning with a header although it only forked. Expect: the child's lines
 * come between its fork and the moment its parent has waited for it, whatever the order of the files.
 */
static void files_of_one_run_are_merged(void **state)
{
	char dir[] = "/tmp/pagesim-test-XXXXXX";
	char *paths[2], *swapped[2], *first = NULL;

	assert_non_null(g_mkdtemp(dir));
	paths[0] = write_file(dir, "log.12",
			      HEADER("12", "sh") PUSH
			      "SYSCALL[12,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   clone(fork): "
			      "process 12 created child 13\n"
			      " --> [pre-success] Success(0xd) \n"
			      "SYSCALL[12,1](61) sys_wait4 ( 4294967295, 0x0, 0, 0x0 ) --> [async] ... \n"
			      "SYSCALL[12,1](61) ... [async] --> Success(0xd) \n"
			      " S 1fff0006f8,8\n");
	paths[1] = write_file(
		dir, "log.13",
		"==13== Lackey, an example Valgrind tool\n==13== Command: sh\n==13== Parent PID: 12\n==13== \n"
		" --> [pre-success] Success(0x0) \n L 1fff0006f8,8\n"
		"SYSCALL[13,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n");
	swapped[0] = paths[1];
	swapped[1] = paths[0];
	for (int k = 0; k < 2; k++) {
		int fd;
		struct ps_trace_writer *w = new_writer(&fd, 1, 0);
		struct ps_lackey *lackey = ps_lackey_new(w, NULL);
		GError *error = NULL;
		char *text;

		if (!ps_lackey_import(lackey, k ? swapped : paths, 2, &error))
			fail_msg("%s", error->message);
		ps_lackey_free(lackey);
		finish(w);
		text = text_of(fd, NULL);
		assert_non_null(strstr(
			text,
			START("12",
			      "sh") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+0 0\n 1fff000 w1\n"
				    "@1 0 fork other=1 pid=13 tid=1\n@1+0 1\n 1fff000 r1\n@1 1 exit\n@1+0 0\n 1fff000 "
				    "w1\n"));
		if (first)
			assert_string_equal(text, first);
		else
			first = g_strdup(text);
		g_free(text);
		close(fd);
	}
	g_free(first);
	for (int k = 0; k < 2; k++) {
		unlink(paths[k]);
		g_free(paths[k]);
	}
	rmdir(dir);
}

/* ---- robustness ---- */

static const char whole[] = HEADER("12", "sh") PUSH
	"I  0401ab73,5\n L 1fff000700,8\n M 1fff000708,4\n"
	"SYSCALL[12,1](12) sys_brk ( 0x0 ) --> [pre-success] Success(0x4035000) \n"
	"SYSCALL[12,1](257) sys_openat ( 4294967196, 0x4034bb0(/etc/passwd), 524288 ) --> [async] ... \n"
	"SYSCALL[12,1](257) ... [async] --> Success(0x3) \n"
	"SYSCALL[12,1](9) sys_mmap ( 0x0, 4096, 1, 1, 3, 8192 ) --> [pre-success] Success(0x4835000) \n"
	"SYSCALL[12,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   clone(fork): process 12 created child 13\n"
	" --> [pre-success] Success(0xd) \n"
	" L 1fff000700,8\n"
	"==12== \n"
	"SYSCALL[12,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n"
	"--12--   SCHED[1]: exiting VG_(scheduler)\n"
	"==12== Counted 0 calls to main()\n";

/* Expect: the same trace however the text is cut into pieces. */
static void pieces_may_end_anywhere(void **state)
{
	struct import at_once = import_in(whole, 0, true, 0);

	assert_null(at_once.error);
	for (size_t chunk = 1; chunk < 70; chunk++) {
		struct import i = import_in(whole, chunk, true, 0);

		assert_null(i.error);
		assert_string_equal(i.text, at_once.text);
		done(&i);
	}
	done(&at_once);
}

/* Cut after every byte. Expect: no error at the end of a line, one inside; lines before it count; and the trace is a good one. */
static void a_text_cut_anywhere_keeps_its_lines(void **state)
{
	for (size_t n = 0; n <= strlen(whole); n++) {
		char *part = g_strndup(whole, n);
		struct import i = import_in(part, 0, true, 0);
		u64 lines = 0;

		for (size_t k = 0; k < n; k++)
			lines += whole[k] == '\n';
		assert_int_equal(i.counts.lines, lines);
		if (n && whole[n - 1] != '\n')
			assert_non_null(strstr(i.error, "expected the rest of the line '"));
		else
			assert_null(i.error);
		done(&i);
		g_free(part);
	}
}

static void junk_is_an_error_with_its_line(void **state)
{
	static const struct {
		const char *text, *message;
		u64 loads;
	} cases[] = {
		{ " L 1fff000700,8\n L 1fff0007,x\n", "log:2: expected a line of lackey", 1 },
		{ " L 1fff000700,8\nhello\n", "found 'hello'", 1 },
		{ " L 1fff000700,8\n L 1fff000700,8\r\n", "found ' L 1fff000700,8?'", 1 },
		{ "\x7f\x45\x4c\x46\x02\n", "log:1: expected a line of lackey", 0 },
		{ "SYSCALL[x\n", "log:1: expected a line of lackey", 0 },
		{ "SYSCALL[12,0](9) sys_mmap\n", "log:1: expected a line of lackey", 0 },
	};

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		struct import i = import_in(cases[k].text, 0, false, 0);

		if (!i.error || !strstr(i.error, cases[k].message))
			fail_msg("expected '%s' in '%s'", cases[k].message, i.error);
		assert_null(strchr(i.error, '\n'));
		assert_int_equal(i.counts.loads, cases[k].loads);
		done(&i);
	}
}

static void a_line_without_end_is_an_error(void **state)
{
	char *text = g_strnfill(200000, 'A');
	struct import i = import_in(text, 4096, false, 0);

	assert_non_null(strstr(i.error, "log:1: expected a line of lackey"));
	done(&i);
	g_free(text);
}

/* Expect: calls nobody can read are counted and change nothing. */
static void strange_system_calls_are_only_counted(void **state)
{
	struct import i = import_in(HEADER("12", "p") PUSH
				    "SYSCALL[12,1](435) unimplemented (by the kernel) syscall: 435! (ni_syscall)\n --> "
				    "[pre-fail] Failure(0x26) \n"
				    "SYSCALL[12,1](9) sys_mmap\n"
				    "SYSCALL[12,1](9) sys_mmap (\n"
				    "SYSCALL[12,1](9) sys_mmap ( ) --> [pre-success] Success(0x4835000) \n"
				    "SYSCALL[12,1](9) sys_mmap ( 0x0, zzz ) --> [pre-success] Success(0x4835000) \n"
				    "SYSCALL[12,1](11) sys_munmap ( 0x0, 0 )[sync] --> Success(0x0) \n"
				    "SYSCALL[12,1](9) ... [async] --> Success(0x4) \n"
				    "SYSCALL[12,1](9) \n"
				    "SYSCALL[12,1](9)\n"
				    "SYSCALL[12,1](999) sys_whatever ( a, b(c, d ) --> [pre-success] Success(0x1) \n"
				    " --> [pre-success] Success(0x0) \n",
				    0, false, 0);

	assert_null(i.error);
	assert_int_equal(i.counts.syscalls, 9);
	assert_string_equal(
		i.text,
		START("12", "p") "@1 0 mmap at=1ffe801+2048 prot=3 flags=36 offset=0 name=\n@1+0 0\n 1fff000 w1\n");
	done(&i);
}

static void missing_files_are_an_error(void **state)
{
	char *paths[] = { (char *)"/nonexistent/log" };
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1, 0);
	struct ps_lackey *lackey = ps_lackey_new(w, NULL);
	GError *error = NULL;

	assert_false(ps_lackey_import(lackey, paths, 1, &error));
	assert_non_null(strstr(error->message, "/nonexistent/log: cannot open: "));
	g_error_free(error);
	ps_lackey_free(lackey);
	ps_trace_writer_free(w);
	close(fd);
}

/* ---- without memory ---- */

/* Two processes with threads, files, shared memory, directories, holes in their mappings, a program after another, a torn line. */
static const char eventful[] = HEADER("12", "p") PUSH
	" L 00108008,8\nI  0010b000,4\n"
	"SYSCALL[12,1](80) sys_chdir ( 0x1(/home) )[sync] --> Success(0x0) \n"
	"SYSCALL[12,1](9) sys_mmap ( 0x0, 40960, 3, 34, 4294967295, 0 )[sync] --> Success(0x4835000) \n"
	"SYSCALL[12,1](11) sys_munmap ( 0x4837000, 4096 )[sync] --> Success(0x0) \n"
	"SYSCALL[12,1](257) sys_openat ( 4294967196, 0x1(d), 577 )[sync] --> Success(0x4) \n"
	"SYSCALL[12,1](2) sys_open ( 0x1(e), 524288 )[sync] --> Success(0x3) \n"
	"SYSCALL[12,1](319) sys_memfd_create ( 0x1(m), 1 )[sync] --> Success(0x8) \n"
	"SYSCALL[12,1](33) sys_dup2 ( 3, 9 )[sync] --> Success(0x9) \n"
	"SYSCALL[12,1](29) sys_shmget ( 0, 65537, 896 )[sync] --> Success(0x7) \n"
	"SYSCALL[12,1](30) sys_shmat ( 7, 0x0, 0 )[sync] --> Success(0x4a58000) \n"
	"SYSCALL[12,1](76) sys_truncate ( 0x1(g), 4096 )[sync] --> Success(0x0) \n"
	"SYSCALL[12,2](0) sys_read ( 4, 0x5000000, 8192 ) --> [async] ... \n"
	"SYSCALL[12,2](0) ... [async] --> Success(0x2000) \n"
	"SYSCALL[12,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   clone(fork): process 12 created child 13\n"
	" --> [pre-success] Success(0xd) \n"
	"SYSCALL[13,1](81) sys_fchdir ( 4 )[sync] --> Success(0x0) \n"
	"SYSCALL[13,1](67) sys_shmdt ( 0x4a58000 )[sync] --> Success(0x0) \n"
	"SYSCALL[13,1](11) sys_mun S 04a58008,8\n" HEADER("13", "q") PUSH
	"SYSCALL[13,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n"
	" L 04836000,8\n";

static char *maps_without_questions(void *arg, u32 pid, const char *command)
{
	return ps_strdup("00108000-0010a000 r--p 00000000 fe:00 248056 /usr/bin/a\n"
			 "0010a000-0010c000 r-xp 00002000 fe:00 248056 /usr/bin/a\n");
}

/* Imports @text into a trace that is thrown away. Return: whether all went well. */
static bool import_whole(const char *text, u64 *ret_lines, GError **error)
{
	struct ps_trace_writer *w;
	struct ps_lackey *lackey = NULL;
	struct ps_lackey_stream *s;
	int fd = memfd_create("test", MFD_CLOEXEC);
	bool ok = false;

	*ret_lines = 0;
	w = ps_trace_writer_new(fd, "x", &scene_info, NULL, error);
	if (w) {
		lackey = ps_lackey_new(w, NULL);
		s = lackey ? ps_lackey_stream_new(lackey, "log", 0) : NULL;
		if (s) {
			lackey_watch(lackey, "/work", maps_without_questions, NULL);
			ok = ps_lackey_feed(s, text, strlen(text), error) && ps_lackey_stream_end(s, error);
			*ret_lines = ps_lackey_counts(lackey)->lines;
			ps_lackey_finish(lackey);
			/* What came before is a trace that can be closed, unless it is the trace itself that fails. */
			ok = ps_trace_writer_finish(w, ok ? error : NULL) && ok;
		} else {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "out of memory");
		}
	}
	ps_lackey_free(lackey);
	ps_trace_writer_free(w);
	close(fd);
	return ok;
}

/*
 * Every request for memory is made to fail once. Expect: one error that says so and where, whatever was being followed then,
 * and everything given back.
 */
static void an_import_without_memory_is_one_error(void **state)
{
	u64 lines, all = 0, failed = 0, n;
	bool more = true;

	for (n = 1; more; n++) {
		struct ps_alloc_counts counts;
		GError *error = NULL;
		bool ok;

		ps_alloc_fail_nth(n);
		ok = import_whole(eventful, &lines, &error);
		more = !ps_alloc_fail_nth(0);
		assert_true(ok == !error);
		if (error) {
			if (!strstr(error->message, "out of memory") || strchr(error->message, '\n'))
				fail_msg("%s", error->message);
			failed++;
		}
		g_clear_error(&error);
		ps_alloc_counts(&counts);
		assert_int_equal(counts.live, 0);
		all = lines;
	}
	/* The last round had nothing to fail. */
	assert_int_equal(all, 31);
	assert_true(failed > 50);
	print_message("%u requests, %u of them ended the import\n", (unsigned int)n - 2, (unsigned int)failed);
}

/* Several files, some of them larger than a step. */
static void merging_without_memory_is_one_error(void **state)
{
	char dir[] = "/tmp/pagesim-test-XXXXXX", *paths[2];
	bool more = true;

	assert_non_null(g_mkdtemp(dir));
	paths[0] = write_file(dir, "1", HEADER("12", "p") PUSH " L 04836000,8\n");
	paths[1] = write_file(dir, "2", HEADER("13", "q") PUSH " L 04836000,8\n");
	for (u64 n = 1; more; n++) {
		struct ps_alloc_counts counts;
		GError *error = NULL;
		struct ps_trace_writer *w;
		struct ps_lackey *lackey;
		int fd;
		bool ok;

		w = new_writer(&fd, 1, 0);
		lackey = ps_lackey_new(w, NULL);
		ps_alloc_fail_nth(n);
		ok = ps_lackey_import(lackey, paths, 2, &error);
		more = !ps_alloc_fail_nth(0);
		assert_true(ok == !error);
		if (more && error)
			assert_non_null(strstr(error->message, "out of memory"));
		g_clear_error(&error);
		assert_true(more || ok);
		ps_lackey_free(lackey);
		ps_trace_writer_free(w);
		close(fd);
		ps_alloc_counts(&counts);
		assert_int_equal(counts.live, 0);
	}
	for (int i = 0; i < 2; i++) {
		unlink(paths[i]);
		g_free(paths[i]);
	}
	rmdir(dir);
}

/* ---- known pages, against a plain array ---- */

static void known_ranges_are_a_set_of_pages(void **state)
{
	bool plain[200] = { false };
	struct known k;
	u64 seed = 1;

	known_init(&k);
	for (int step = 0; step < 20000; step++) {
		u64 a, b, gap_start, gap_end, at;
		bool add, gap;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		a = (seed >> 33) % 200;
		b = a + (seed >> 50) % 9;
		b = b > 200 ? 200 : b;
		add = seed >> 63;
		if (add)
			known_add(&k, a, b);
		else
			known_remove(&k, a, b);
		for (u64 i = a; i < b; i++)
			plain[i] = add;
		at = (seed >> 20) % 200;
		assert_true(known_has(&k, at) == plain[at]);
		assert_true(known_has(&k, at) == plain[at]);
		gap = known_gap(&k, a, 200, &gap_start, &gap_end);
		for (at = a; at < 200 && plain[at]; at++)
			;
		assert_true(gap == (at < 200));
		if (gap) {
			assert_int_equal(gap_start, at);
			for (; at < 200 && !plain[at]; at++)
				;
			assert_int_equal(gap_end, at);
		}
	}
	for (u64 i = 0; i < 200; i++)
		assert_true(known_lookup(&k, i) == plain[i]);
	known_destroy(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_lines_are_read_strictly),
		cmocka_unit_test(accesses_become_records),
		cmocka_unit_test(fetches_are_accesses_on_request),
		cmocka_unit_test(mappings_come_from_calls_or_are_inferred),
		cmocka_unit_test(files_are_followed_through_their_descriptors),
		cmocka_unit_test(vectors_move_data_at_the_position_or_at_an_offset),
		cmocka_unit_test(shared_memory_is_as_large_as_it_was_made),
		cmocka_unit_test(relative_paths_follow_the_current_directory),
		cmocka_unit_test(a_process_that_can_be_asked_has_its_image_named),
		cmocka_unit_test(threads_are_told_apart),
		cmocka_unit_test(a_mixed_text_follows_forks_as_far_as_it_says),
		cmocka_unit_test(a_child_that_left_the_trace_ends_when_waited_for),
		cmocka_unit_test(torn_lines_after_a_fork_are_forgiven),
		cmocka_unit_test(torn_lines_of_one_process_are_errors),
		cmocka_unit_test(a_process_number_is_used_again),
		cmocka_unit_test(named_streams_need_no_guessing),
		cmocka_unit_test(files_of_one_run_are_merged),
		cmocka_unit_test(pieces_may_end_anywhere),
		cmocka_unit_test(a_text_cut_anywhere_keeps_its_lines),
		cmocka_unit_test(junk_is_an_error_with_its_line),
		cmocka_unit_test(a_line_without_end_is_an_error),
		cmocka_unit_test(strange_system_calls_are_only_counted),
		cmocka_unit_test(missing_files_are_an_error),
		cmocka_unit_test(an_import_without_memory_is_one_error),
		cmocka_unit_test(merging_without_memory_is_one_error),
		cmocka_unit_test(known_ranges_are_a_set_of_pages),
	};

	return cmocka_run_group_tests_name("trace-lackey", tests, NULL, NULL);
}
