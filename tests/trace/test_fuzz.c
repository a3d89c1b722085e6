/* SPDX-License-Identifier: MIT */
/*
 * Readers fed with texts and files that were good once. Each round changes a good input in one to four places and reads
 * it to the end. Expect: no crash, no hang, nothing impossible handed out; a failure is one line; and a reader that failed
 * fails again in the same words. Rounds are numbered, and the number is the seed: a failing round is named in the message.
 *
 * Of a `.pgt` three depths are attacked: the bytes of the file, where checksums catch nearly everything; the heads of
 * sections with their checksums put right; and the columns behind them, compressed anew. The last two are what only a writer gone
 * mad, or somebody malicious, would make.
 */
#include "scene.h"
#include "trace/crc32c.h"
#include "trace/pgt.h"

#include <pagesim/rng.h>
#include <pagesim/trace_import.h>
#include <pagesim/trace_text.h>

#include <stdlib.h>
#include <zstd.h>

/* Rounds of each attack; another number can be given on the command line. */
static u64 rounds = 1500;
static u64 round_number;

#define check(condition)                                                                          \
	do {                                                                                      \
		if (!(condition))                                                                 \
			fail_msg("round %llu: %s", (unsigned long long)round_number, #condition); \
	} while (0)

/* ---- mutation ---- */

static const char *const spice[] = {
	"0",
	"1",
	"-1",
	"18446744073709551615",
	"18446744073709551616",
	"99999999999999999999999",
	"fffffffffffffffff",
	" ",
	"\n",
	"\t",
	"[",
	"]",
	"(",
	")",
	",",
	":",
	"=",
	"@",
	"race\n",
	"end\n",
	"to",
	"SYSCALL[",
	"Success(0x0)",
	" --> ",
	"==1== Command: ",
	"--1--   SCHED[2]:  acquired lock",
	": process 1 created child 2",
	"\xff",
	"\\x0a",
	"+",
	" name=",
	"total ",
};

static void mutate(GString *s, struct ps_rng *rng)
{
	for (u64 n = 1 + ps_rng_below(rng, 4); n; n--) {
		gsize at = ps_rng_below(rng, s->len + 1), to = at + ps_rng_below(rng, 40);
		const char *word = spice[ps_rng_below(rng, ARRAY_SIZE(spice))];

		to = MIN(to, s->len);
		switch (ps_rng_below(rng, 7)) {
		case 0:
			if (at < s->len)
				s->str[at] ^= (char)(1u << ps_rng_below(rng, 8));
			break;
		case 1:
			if (at < s->len)
				s->str[at] = (char)ps_rng_next(rng);
			break;
		case 2:
			g_string_erase(s, (gssize)at, (gssize)(to - at));
			break;
		case 3:
			g_string_insert(s, (gssize)at, word);
			break;
		case 4: {
			/* A piece of it again, somewhere. */
			char *piece = g_strndup(s->str + at, to - at);

			g_string_insert(s, (gssize)ps_rng_below(rng, s->len + 1), piece);
			g_free(piece);
			break;
		}
		case 5:
			g_string_truncate(s, at);
			break;
		case 6:
			g_string_overwrite(s, at, word);
			break;
		}
	}
}

/* ---- what every reader is held to ---- */

static void read_to_the_end(int fd)
{
	GError *error = NULL, *again = NULL;
	struct ps_trace_reader *r;
	struct ps_trace_batch b;
	enum ps_trace_next next;
	u64 batches = 0;
	size_t n;

	lseek(fd, 0, SEEK_SET);
	r = ps_trace_reader_new(fd, "fuzz", &error);
	if (!r) {
		check(error && !strchr(error->message, '\n'));
		g_error_free(error);
		return;
	}
	while ((next = ps_trace_reader_next(r, &b, &error)) == PS_TRACE_BATCH) {
		check(!error);
		check(++batches < 10000000);
		check(b.task < PS_TASK_MAX);
		check(b.time + b.span >= b.time);
		if (b.event) {
			const struct ps_event *e = b.event;

			check(!b.n && (u32)e->kind < PS_EVENT_KINDS && e->task == b.task && e->time == b.time &&
			      e->name);
			check(e->vpn + e->pages <= PS_TRACE_VPN_END && e->to_vpn + e->to_pages <= PS_TRACE_VPN_END);
			check(e->other < PS_TASK_MAX || e->other == PS_TASK_NONE);
			check(strlen(e->name) < 1 << 20);
			continue;
		}
		check(b.n && b.n <= PS_TRACE_BATCH_MAX);
		for (u32 i = 0; i < b.n; i++)
			check(b.vpn[i] < PS_TRACE_VPN_END);
	}
	check((next == PS_TRACE_FAILED) == (error != NULL));
	if (error) {
		check(!strchr(error->message, '\n'));
		check(ps_trace_reader_next(r, &b, &again) == PS_TRACE_FAILED);
		check(!strcmp(error->message, again->message));
		g_error_free(error);
		g_error_free(again);
	} else {
		ps_trace_reader_totals(r, &n);
		check(n >= 7);
		check(ps_trace_reader_next(r, &b, NULL) == PS_TRACE_END);
	}
	ps_trace_reader_free(r);
}

static void read_bytes(const GString *bytes)
{
	int fd = file_of(bytes->str, bytes->len);
	struct ps_trace_reader *r;

	read_to_the_end(fd);
	/* The index by itself, and a frame found through it. */
	lseek(fd, 0, SEEK_SET);
	r = ps_trace_reader_new(fd, "fuzz", NULL);
	if (r) {
		struct ps_trace_batch b;
		size_t n;

		if (ps_trace_reader_load_index(r, NULL)) {
			ps_trace_reader_frames(r, &n);
			if (n && ps_trace_reader_seek(r, n - 1, NULL))
				while (ps_trace_reader_next(r, &b, NULL) == PS_TRACE_BATCH)
					;
		}
		ps_trace_reader_free(r);
	}
	close(fd);
}

static GString *good_trace(void)
{
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 2, 64);
	GString *bytes;

	write_everything(w);
	for (u32 i = 0; i < 300; i++)
		ps_trace_writer_access(w, i / 50, i * 7 % 90, i % 4, 2000 + i);
	finish(w);
	bytes = bytes_of(fd);
	close(fd);
	return bytes;
}

static void each_round(const GString *good, void (*attack)(GString *bytes, struct ps_rng *rng))
{
	for (round_number = 1; round_number <= rounds; round_number++) {
		GString *bytes = g_string_new_len(good->str, (gssize)good->len);
		struct ps_rng rng;

		ps_rng_init(&rng, round_number);
		attack(bytes, &rng);
		g_string_free(bytes, true);
	}
}

/* ---- .pgt ---- */

static void attack_bytes(GString *bytes, struct ps_rng *rng)
{
	mutate(bytes, rng);
	read_bytes(bytes);
}

static void decode_head(const GString *bytes, size_t at, struct pgt_section *s, size_t *stored)
{
	pgt_section_decode(s, (const u8 *)bytes->str + at);
	*stored = 0;
	for (int c = 0; c < PGT_COLUMNS; c++)
		*stored += s->stored[c];
}

/* Finds a random section. Return: its offset. */
static size_t some_section(const GString *bytes, struct ps_rng *rng)
{
	size_t at = pgt_get32((const u8 *)bytes->str + 12), chosen = at, stored;
	struct pgt_section s;
	u64 n = 1;

	while (at + PGT_SECTION_BYTES < bytes->len - PGT_FOOTER_BYTES) {
		if (!ps_rng_below(rng, n++))
			chosen = at;
		decode_head(bytes, at, &s, &stored);
		at += PGT_SECTION_BYTES + stored;
	}
	return chosen;
}

static void sign_section(GString *bytes, size_t at)
{
	u8 *p = (u8 *)bytes->str + at;

	pgt_put32(p + PGT_SECTION_BYTES - 4, trace_crc32c(0, p, PGT_SECTION_BYTES - 4));
}

static void attack_head(GString *bytes, struct ps_rng *rng)
{
	static const u32 values[] = { 0,     1,       2,       255,           256,        65535,
				      65536, 1 << 17, 1 << 25, (1 << 25) + 1, 0x7fffffff, 0xffffffff };
	size_t at = some_section(bytes, rng);
	u8 *field = (u8 *)bytes->str + at + 4 * ps_rng_below(rng, PGT_SECTION_BYTES / 4 - 1);
	u32 old = pgt_get32(field);

	switch (ps_rng_below(rng, 3)) {
	case 0:
		pgt_put32(field, values[ps_rng_below(rng, ARRAY_SIZE(values))]);
		break;
	case 1:
		pgt_put32(field, old + 1);
		break;
	case 2:
		pgt_put32(field, old - 1);
		break;
	}
	sign_section(bytes, at);
	read_bytes(bytes);
}

/* One column of one section is taken out, changed, and put back with everything around it made to fit. */
static void attack_column(GString *bytes, struct ps_rng *rng)
{
	size_t at = some_section(bytes, rng), stored, column_at = at + PGT_SECTION_BYTES, n;
	GString *column = g_string_new(NULL), *packed = g_string_new(NULL);
	struct pgt_section s;
	int c = (int)ps_rng_below(rng, PGT_COLUMNS);

	decode_head(bytes, at, &s, &stored);
	for (int i = 0; i < c; i++)
		column_at += s.stored[i];
	g_string_set_size(column, s.raw[c]);
	if (s.stored[c] < s.raw[c])
		assert_int_equal(ZSTD_decompress(column->str, s.raw[c], bytes->str + column_at, s.stored[c]), s.raw[c]);
	else
		memcpy(column->str, bytes->str + column_at, s.raw[c]);
	for (u64 k = 1 + ps_rng_below(rng, 3); k && column->len; k--) {
		u8 *p = (u8 *)column->str + ps_rng_below(rng, column->len);

		*p = ps_rng_below(rng, 2) ? (u8)ps_rng_next(rng) : (u8)(*p + 1);
	}
	if (!ps_rng_below(rng, 8))
		mutate(column, rng);
	g_string_set_size(packed, ZSTD_compressBound(column->len));
	n = ZSTD_compress(packed->str, packed->len, column->str, column->len, 1);
	g_string_set_size(packed, n);
	if (n >= column->len) {
		g_string_truncate(packed, 0);
		g_string_append_len(packed, column->str, (gssize)column->len);
	}
	g_string_erase(bytes, (gssize)column_at, s.stored[c]);
	g_string_insert_len(bytes, (gssize)column_at, packed->str, (gssize)packed->len);
	stored += packed->len - s.stored[c];
	s.stored[c] = (u32)packed->len;
	s.raw[c] = (u32)column->len;
	s.crc = trace_crc32c(0, bytes->str + at + PGT_SECTION_BYTES, stored);
	pgt_section_encode(&s, (u8 *)bytes->str + at);
	sign_section(bytes, at);
	g_string_free(column, true);
	g_string_free(packed, true);
	read_bytes(bytes);
}

static void attack_header(GString *bytes, struct ps_rng *rng)
{
	u8 *p = (u8 *)bytes->str;
	u32 n = pgt_get32(p + 12);

	p[8 + ps_rng_below(rng, n - 12)] = (u8)ps_rng_next(rng);
	pgt_put32(p + n - 4, trace_crc32c(0, p, n - 4));
	read_bytes(bytes);
}

static void binary_traces(void **state)
{
	GString *good = good_trace();

	each_round(good, attack_bytes);
	each_round(good, attack_head);
	each_round(good, attack_column);
	each_round(good, attack_header);
	g_string_free(good, true);
}

/* ---- text forms ---- */

static void bulk_text(void **state)
{
	GString *binary = good_trace();
	int fd = file_of(binary->str, binary->len);
	char *text = text_of(fd, NULL);
	GString *good = g_string_new(text);

	each_round(good, attack_bytes);
	g_string_free(good, true);
	g_string_free(binary, true);
	g_free(text);
	close(fd);
}

static void attack_script(GString *bytes, struct ps_rng *rng)
{
	struct ps_script *script;

	mutate(bytes, rng);
	script = ps_script_parse(bytes->str, bytes->len, "fuzz.pgs");
	if (script->error)
		check(!strchr(script->error->message, '\n'));
	/* What was understood is understood again from how it is printed. */
	for (u32 i = 0; i < script->n; i++) {
		const struct ps_statement *st = &script->statements[i];
		struct ps_script *once;

		if (st->racer || st->verb == PS_VERB_RACE || st->verb == PS_VERB_END)
			continue;
		once = ps_script_parse(st->text, strlen(st->text), "again.pgs");
		check(once->n == 1 && !once->error);
		check(once->statements[0].verb == st->verb && !strcmp(once->statements[0].text, st->text));
		ps_script_free(once);
	}
	ps_script_free(script);
}

static void scripts(void **state)
{
	GString *good = g_string_new(
		"machine tiny\nquirk a-b\n@1.5ms A start cpu=1\nA fork B\nA mmap r 64K anon shared ro populate\n"
		"A mmap f 8K file /t/f at=3 private\nA reserve d 2M\nA mremap r[1:3] to d[256]\nA madvise r[0:8:2] "
		"collapse\n"
		"A mbind r weighted 0:3,1:1 move strict\nA store r =7\nA pwrite /d/f[0:8] =9\nA truncate /d/f 3\n"
		"A move_pages r[0] to 1, r[3:5] to -2 all\nA migrate_pages 0,1 to 1,2\nA exchange r with B r async\n"
		"A split r to 2\nkernel set thp_enabled always\nkernel balloon -5\nkernel writeback /d/f begin\n"
		"race\n m: A exit\n n: @5 kernel drain # why\nexpect = 0\nend\nA show r\n");

	each_round(good, attack_script);
	g_string_free(good, true);
}

static void attack_lackey(GString *bytes, struct ps_rng *rng)
{
	struct ps_lackey_settings settings = { .fetches = ps_rng_below(rng, 2) };
	int fd;
	struct ps_trace_writer *w = new_writer(&fd, 1 + (u32)ps_rng_below(rng, 8), 64);
	struct ps_lackey *lackey = ps_lackey_new(w, &settings);
	u32 pid = (u32)ps_rng_below(rng, 3);
	struct ps_lackey_stream *s[2] = { ps_lackey_stream_new(lackey, "one", pid), NULL };
	GError *error = NULL;
	bool ok = true;

	mutate(bytes, rng);
	if (pid)
		s[1] = ps_lackey_stream_new(lackey, "two", 3 - pid);
	for (size_t at = 0; at < bytes->len && ok;) {
		size_t n = 1 + ps_rng_below(rng, 400);

		n = MIN(n, bytes->len - at);
		ok = ps_lackey_feed(s[s[1] && !ps_rng_below(rng, 4)], bytes->str + at, n, &error);
		at += n;
	}
	for (int i = 0; i < 2 && ok; i++)
		ok = !s[i] || ps_lackey_stream_end(s[i], &error);
	check(ok == !error);
	if (error)
		check(!strchr(error->message, '\n'));
	g_clear_error(&error);
	ps_lackey_finish(lackey);
	ps_lackey_free(lackey);
	/* Whatever came in, what came out is a trace. */
	if (!ps_trace_writer_finish(w, &error))
		fail_msg("round %llu: %s", (unsigned long long)round_number, error->message);
	ps_trace_writer_free(w);
	read_to_the_end(fd);
	close(fd);
}

static void lackey_text(void **state)
{
	GString *good = g_string_new(
		"==1== Lackey, an example Valgrind tool\n==1== Command: sh -c x\n==1== Parent PID: 7\n==1== \n"
		"--1--   SCHED[1]:  acquired lock (thread_wrapper(starting new thread))\n"
		"I  0401ab70,3\n S 1fff0006f8,8\n L 00108ffc,8\n M 00108ff8,4\n"
		"SYSCALL[1,1](12) sys_brk ( 0x0 ) --> [pre-success] Success(0x4035000) \n"
		"SYSCALL[1,1](12) sys_brk ( 0x4056000 ) --> [pre-success] Success(0x4056000) \n"
		"SYSCALL[1,1](257) sys_openat ( 4294967196, 0x4034bb0(/etc/passwd), 524866 ) --> [async] ... \n"
		"SYSCALL[1,1](257) ... [async] --> Success(0x3) \n"
		"SYSCALL[1,1](0) sys_read ( 3, 0x1ffeffeda8, 832 ) --> [async] ... \n"
		"SYSCALL[1,1](0) ... [async] --> Success(0x340) \n"
		"SYSCALL[1,1](9) sys_mmap ( 0x0, 16400, 1, 2050, 3, 4096 ) --> [pre-success] Success(0x4837000) \n"
		"SYSCALL[1,1](10) sys_mprotect ( 0x4837000, 4096, 1 )[sync] --> Success(0x0) \n"
		"SYSCALL[1,1](25) sys_mremap ( 0x4837000, 8192, 16384, 0x1 ) --> [pre-success] Success(0x5b32000) \n"
		"SYSCALL[1,1](28) sys_madvise ( 0x5b32000, 4096, 4 ) --> [async] ... \n"
		"SYSCALL[1,1](28) ... [async] --> Success(0x0) \n"
		"SYSCALL[1,1](11) sys_munmap ( 0x5b32000, 16384 )[sync] --> Success(0x0) \n"
		"SYSCALL[1,1](56) sys_clone ( 3d0f00, 0x5a30f70, 0x5a31990, 0x5a31990, 0x5a316c0 ) --> [pre-success] "
		"Success(0x2676)\n"
		"--1--   SCHED[2]:  acquired lock (VG_(vg_yield))\n S 04035010,8\n"
		"SYSCALL[1,2](60) exit( 0 ) --> [pre-success] Success(0x0) \n L 04035010,8\n"
		"SYSCALL[1,1](56) sys_clone ( 1200011, 0x0, 0x0, 0x4a2da10, 0x0 )   clone(fork): process 1 created "
		"child 2\n"
		" --> [pre-success] Success(0x2) \n S 1fff0006f8,8\n --> [pre-success] Success(0x0) \n L 1fff0006f8,8\n"
		"SYSCALL[2,1](59) sys_execve ( 0x4035d18(/bin/true), 0x129918, 0x4035bc8 )==2== Lackey, an example "
		"Valgrind tool\n"
		"==2== Command: /bin/true\n==2== \nI  0401ab70,3\n S 1fff0006f8,8\n"
		"SYSCALL[2,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n"
		"SYSCALL[1,1](61) sys_wait4 ( 4294967295, 0x0, 0, 0x0 ) --> [async] ... \n"
		"SYSCALL[1,1](61) ... [async] --> Success(0x2) \n L 1fff0006f8,8\n"
		"SYSCALL[1,1](231) exit_group( 0 ) --> [pre-success] Success(0x0) \n==1== Exit code:       0\n");

	each_round(good, attack_lackey);
	g_string_free(good, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(binary_traces),
		cmocka_unit_test(bulk_text),
		cmocka_unit_test(scripts),
		cmocka_unit_test(lackey_text),
	};

	if (argc > 1)
		rounds = strtoull(argv[1], NULL, 10);
	return cmocka_run_group_tests_name("trace-fuzz", tests, NULL, NULL);
}
