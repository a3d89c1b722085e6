/* SPDX-License-Identifier: MIT */
/*
 * The text carrier: every statement of the language with all it says, every way to get it wrong with the message it gives.
 */
#include "scene.h"

#include <pagesim/trace_text.h>

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

static struct ps_script *parse(const char *text)
{
	return ps_script_parse(text, strlen(text), "x.pgs");
}

/* ---- a picture of a statement: every member that is not zero ---- */

static void put_range(GString *s, const char *key, const struct ps_range *r)
{
	if (!r->name)
		return;
	g_string_append_printf(s, " %s=%s%s", key, r->is_file ? "file:" : "", r->name);
	if (!r->whole)
		g_string_append_printf(s, "[%" PRIu64 ":%" PRIu64 ":%" PRIu64 "]", r->first, r->end, r->step);
}

static void put_nodes(GString *s, const char *key, const struct ps_node_list *l)
{
	for (u32 i = 0; i < l->n; i++) {
		g_string_append_printf(s, "%s%d", i ? "," : key, l->node[i]);
		if (l->weight)
			g_string_append_printf(s, ":%u", l->weight[i]);
	}
}

static char *picture(const struct ps_statement *st)
{
	static const char *const policies[] = { "default", "bind", "preferred", "interleave", "weighted" };
	GString *s = g_string_new(NULL);

	if (st->racer)
		g_string_append_printf(s, "{%s} ", st->racer);
	if (st->has_time)
		g_string_append_printf(s, "@%" PRIu64 " ", st->time);
	g_string_append_printf(s, "%s.%s", st->subject, ps_verb_word(st->verb));
	if (st->name)
		g_string_append_printf(s, " name=%s", st->name);
	if (st->path)
		g_string_append_printf(s, " path=%s", st->path);
	if (st->word)
		g_string_append_printf(s, " word=%s", st->word);
	if (st->items) {
		for (u32 i = 0; i < st->n_items; i++) {
			put_range(s, "item", &st->items[i].range);
			if (st->verb == PS_VERB_MOVE_PAGES)
				g_string_append_printf(s, "->%d", st->items[i].node);
		}
		assert_string_equal(st->range.name, st->items[0].range.name);
	} else {
		put_range(s, "range", &st->range);
	}
	put_range(s, "other", &st->other);
	if (st->bytes)
		g_string_append_printf(s, " bytes=%" PRIu64, st->bytes);
	if (st->number)
		g_string_append_printf(s, " number=%" PRIu64, st->number);
	if (st->pages)
		g_string_append_printf(s, " pages=%" PRId64, st->pages);
	if (st->has_value)
		g_string_append_printf(s, " value=%" PRIu64, st->value);
	if (st->verb == PS_VERB_MMAP || st->verb == PS_VERB_MPROTECT)
		g_string_append_printf(s, " prot=%u", st->prot);
	if (st->map)
		g_string_append_printf(s, " map=%u", st->map);
	if (st->advice)
		g_string_append_printf(s, " advice=%d", st->advice);
	if (st->verb == PS_VERB_MEMPOLICY || st->verb == PS_VERB_MBIND) {
		g_string_append_printf(s, " %s", policies[st->policy.mode]);
		put_nodes(s, ":", &st->policy.nodes);
	}
	if (st->bind)
		g_string_append_printf(s, " bind=%u", st->bind);
	put_nodes(s, " from=", &st->nodes);
	put_nodes(s, " to=", &st->to_nodes);
	if (st->node)
		g_string_append_printf(s, " node=%d", st->node);
	if (st->verb == PS_VERB_EXCHANGE)
		g_string_append_printf(s, " mode=%d", st->mode);
	if (st->all)
		g_string_append(s, " all");
	if (st->on)
		g_string_append(s, " on");
	return g_string_free(s, false);
}

/* Each line and what it means. */
static const struct {
	const char *line, *meaning;
} statements[] = {
	{ "machine tiny", ".machine name=tiny" },
	{ "quirk exchange-drops-dirty", ".quirk name=exchange-drops-dirty" },
	{ "expect = -EBUSY or so", ".expect name== -EBUSY or so" },
	{ "A start", "A.start" },
	{ "worker.1 start cpu=3", "worker.1.start number=3" },
	{ "A fork B", "A.fork name=B" },
	{ "A thread T", "A.thread name=T" },
	{ "A exit", "A.exit" },
	{ "A cpu 1", "A.cpu number=1" },
	{ "A unprivileged", "A.unprivileged" },
	{ "A mmap r 64K anon", "A.mmap name=r bytes=65536 prot=3" },
	{ "A mmap r 2M anon shared ro populate", "A.mmap name=r bytes=2097152 prot=1 map=3" },
	{ "A mmap r 1G anon none", "A.mmap name=r bytes=1073741824 prot=0" },
	{ "A mmap r 8192 file /t/f", "A.mmap name=r path=/t/f bytes=8192 prot=3 map=1" },
	{ "A mmap r 1T file /d/a/b at=7 private ro", "A.mmap name=r path=/d/a/b bytes=1099511627776 number=7 prot=1" },
	{ "A reserve d 64K", "A.reserve name=d bytes=65536" },
	{ "A munmap r", "A.munmap range=r" },
	{ "A munmap r[3]", "A.munmap range=r[3:4:1]" },
	{ "A munmap r[3:9]", "A.munmap range=r[3:9:1]" },
	{ "A munmap r[0:16:4]", "A.munmap range=r[0:16:4]" },
	{ "A mprotect r none", "A.mprotect range=r prot=0" },
	{ "A mprotect r rw", "A.mprotect range=r prot=3" },
	{ "A mremap r[1:3] to d[256]", "A.mremap range=r[1:3:1] other=d[256:257:1]" },
	{ "A madvise r hugepage", "A.madvise range=r advice=14" },
	{ "A madvise r dontneed", "A.madvise range=r advice=4" },
	{ "A madvise r collapse", "A.madvise range=r advice=25" },
	{ "A madvise r populate_write", "A.madvise range=r advice=23" },
	{ "A mlock r", "A.mlock range=r" },
	{ "A munlock r", "A.munlock range=r" },
	{ "A mempolicy default", "A.mempolicy default" },
	{ "A mempolicy bind 2,0,2", "A.mempolicy bind:2,0,2" },
	{ "A mempolicy preferred 1", "A.mempolicy preferred:1" },
	{ "A mempolicy weighted 0:3,1:1", "A.mempolicy weighted:0:3,1:1" },
	{ "A mbind r interleave 0,1", "A.mbind range=r interleave:0,1" },
	{ "A mbind r bind 1000 strict move_all move", "A.mbind range=r bind:1000 bind=7" },
	{ "A load r", "A.load range=r" },
	{ "A store r[0:2] =7", "A.store range=r[0:2:1] value=7" },
	{ "A store r", "A.store range=r" },
	{ "A check r =18446744073709551615", "A.check range=r value=18446744073709551615" },
	{ "A pread /d/f[0:8]", "A.pread range=file:/d/f[0:8:1]" },
	{ "A pwrite /d/f[0:8] =0", "A.pwrite range=file:/d/f[0:8:1] value=0" },
	{ "A fsync /d/f", "A.fsync range=file:/d/f" },
	{ "A truncate /d/f 4", "A.truncate range=file:/d/f number=4" },
	{ "A fadvise /d/f[0:8] dontneed", "A.fadvise range=file:/d/f[0:8:1] advice=4" },
	{ "A get r", "A.get range=r" },
	{ "A put r", "A.put range=r" },
	{ "A pin r", "A.pin range=r" },
	{ "A unpin r", "A.unpin range=r" },
	{ "A move_pages r to 1", "A.move_pages item=r->1" },
	{ "A move_pages r[0] to 1, r[3:5] to -2, q to 1000 all",
	  "A.move_pages item=r[0:1:1]->1 item=r[3:5:1]->-2 item=q->1000 all" },
	{ "A migrate_pages 0,1 to 1,2", "A.migrate_pages from=0,1 to=1,2" },
	{ "A exchange r with B s", "A.exchange name=B range=r other=s mode=2" },
	{ "A exchange r[0:2] with B s[4:6] async", "A.exchange name=B range=r[0:2:1] other=s[4:6:1] mode=0" },
	{ "A exchange r with B s sync_light", "A.exchange name=B range=r other=s mode=1" },
	{ "A split r", "A.split range=r" },
	{ "A split r to 2", "A.split range=r number=2" },
	{ "A clear_refs", "A.clear_refs" },
	{ "A status r", "A.status item=r" },
	{ "A show r[5]", "A.show range=r[5:6:1]" },
	{ "A smaps r", "A.smaps range=r" },
	{ "kernel drain", "kernel.drain" },
	{ "kernel compact", "kernel.compact node=-1" },
	{ "kernel compact 2", "kernel.compact node=2" },
	{ "kernel drop_caches 3", "kernel.drop_caches number=3" },
	{ "kernel swap on", "kernel.swap on" },
	{ "kernel swap off", "kernel.swap" },
	{ "kernel balloon +64", "kernel.balloon pages=64" },
	{ "kernel balloon -1", "kernel.balloon pages=-1" },
	{ "kernel set thp_enabled always", "kernel.set name=thp_enabled word=always" },
	{ "kernel reclaim 1 32", "kernel.reclaim number=32 node=1" },
	{ "kernel writeback /d/f[0:2] begin", "kernel.writeback range=file:/d/f[0:2:1] on" },
	{ "kernel writeback /d/f end", "kernel.writeback range=file:/d/f" },
	{ "kernel nodes", "kernel.nodes" },
	{ "kernel vmstat", "kernel.vmstat" },
	{ "kernel counters", "kernel.counters" },
	{ "@5 A exit", "@5 A.exit" },
	{ "@250us A exit", "@250000 A.exit" },
	{ "@1.5ms kernel drain", "@1500000 kernel.drain" },
	{ "@0.000000001s A exit", "@1 A.exit" },
};

/* Expect: what the line means, and the line itself as the transcript prints it; and every verb is among them. */
static void every_statement_is_parsed_completely(void **state)
{
	bool seen[PS_VERBS] = { false };

	for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
		struct ps_script *script = parse(statements[i].line);
		char *meaning;

		if (script->error)
			fail_msg("'%s': %s", statements[i].line, script->error->message);
		assert_int_equal(script->n, 1);
		meaning = picture(&script->statements[0]);
		assert_string_equal(meaning, statements[i].meaning);
		assert_string_equal(script->statements[0].text, statements[i].line);
		assert_int_equal(script->statements[0].line, 1);
		seen[script->statements[0].verb] = true;
		g_free(meaning);
		ps_script_free(script);
	}
	seen[PS_VERB_RACE] = seen[PS_VERB_END] = true;
	for (int v = 0; v < PS_VERBS; v++)
		if (!seen[v])
			fail_msg("no statement with the verb %s", ps_verb_word((enum ps_verb)v));
}

static void spaces_and_comments_mean_nothing(void **state)
{
	struct ps_script *script = parse("\n  # a comment\n\tA   start\tcpu=1 \r\n\n A exit# done\nA");

	assert_int_equal(script->n, 2);
	assert_string_equal(script->statements[0].text, "A start cpu=1");
	assert_int_equal(script->statements[0].line, 3);
	assert_string_equal(script->statements[1].text, "A exit");
	assert_int_equal(script->statements[1].line, 5);
	assert_int_equal(script->error_line, 6);
	assert_string_equal(script->error_text, "A");
	assert_string_equal(script->error->message,
			    "x.pgs:6: expected a verb of a task, found the end of the statement");
	ps_script_free(script);
}

static void a_race_is_lines_of_racers(void **state)
{
	struct ps_script *script = parse("race\n mover: A move_pages r to 1\n exit:  @3us A munmap r\n k: kernel "
					 "drain\n expect = 0\nend\nA show r\n");
	char *m;

	assert_null(script->error);
	assert_int_equal(script->n, 7);
	m = picture(&script->statements[1]);
	assert_string_equal(m, "{mover} A.move_pages item=r->1");
	g_free(m);
	m = picture(&script->statements[2]);
	assert_string_equal(m, "{exit} @3000 A.munmap range=r");
	g_free(m);
	assert_string_equal(script->statements[1].text, "mover: A move_pages r to 1");
	assert_null(script->statements[6].racer);
	ps_script_free(script);
}

/* Lines that are wrong, and the message behind "x.pgs:1: ". */
static const struct {
	const char *line, *message;
} mistakes[] = {
	{ "A", "expected a verb of a task, found the end of the statement" },
	{ "A fly", "expected a verb of a task, found 'fly'" },
	{ "kernel", "expected a verb of the kernel, found the end of the statement" },
	{ "kernel start", "expected a verb of the kernel, found 'start'" },
	{ "9a start", "expected a task, 'kernel' or a word of the script, found '9a'" },
	{ "A start now", "expected the end of the statement, found 'now'" },
	{ "A start cpu=x", "expected cpu=N, found 'x'" },
	{ "A fork kernel", "expected the name of a task, found the word 'kernel', which means something else" },
	{ "A fork abcdefghijklmnopqrstuvwxyz",
	  "expected the name of a task of at most 23 letters, found 'abcdefghijklmnopqrstuvwxyz'" },
	{ "A mmap r 64K", "expected 'anon' or 'file', found the end of the statement" },
	{ "A mmap r 64k anon", "expected a size (a multiple of 4K), found '64k'" },
	{ "A mmap r 5000 anon", "expected a size (a multiple of 4K), found '5000'" },
	{ "A mmap r 0 anon", "expected a size (a multiple of 4K), found '0'" },
	{ "A mmap r 99999999999T anon", "expected a size (a multiple of 4K), found '99999999999T'" },
	{ "A mmap r[0] 64K anon", "expected a region name, found 'r[0]'" },
	{ "A mmap r 64K swap", "expected 'anon' or 'file', found 'swap'" },
	{ "A mmap r 64K anon at=1", "expected shared, private, ro, rw, none or populate, found 'at=1'" },
	{ "A mmap r 64K file /x/f", "expected a file below /t/ or /d/, found '/x/f'" },
	{ "A mmap r 64K file /t/f at=-1", "expected at=PAGE, found '-1'" },
	{ "A munmap", "expected a range of a region, found the end of the statement" },
	{ "A munmap /t/f", "expected a region, found the file '/t/f'" },
	{ "A munmap r[3", "expected NAME[i], NAME[i:j] or NAME[i:j:step], found 'r[3'" },
	{ "A munmap r[]", "expected NAME[i], NAME[i:j] or NAME[i:j:step], found 'r[]'" },
	{ "A munmap r[1:2:3:4]", "expected NAME[i], NAME[i:j] or NAME[i:j:step], found 'r[1:2:3:4]'" },
	{ "A munmap r[1]x", "expected NAME[i], NAME[i:j] or NAME[i:j:step], found 'r[1]x'" },
	{ "A munmap r[4:4]", "expected a range that ends behind its begin, found 'r[4:4]'" },
	{ "A munmap r[18446744073709551615]",
	  "expected a range that ends behind its begin, found 'r[18446744073709551615]'" },
	{ "A munmap r[0:4:0]", "expected a step of 1 or more, found 'r[0:4:0]'" },
	{ "A munmap [3]", "expected a range, found '[3]'" },
	{ "A mprotect r rx", "expected none, ro or rw, found 'rx'" },
	{ "A mremap r[0:8:2] to d", "expected a range without a step, found a step of 2" },
	{ "A mremap r d", "expected 'to', found 'd'" },
	{ "A madvise r fly",
	  "expected an advice (hugepage, nohugepage, dontneed, free, cold, pageout, willneed, populate_read, "
	  "populate_write, collapse, remove, dontfork, dofork, mergeable, unmergeable), found 'fly'" },
	{ "A mempolicy local", "expected a policy (default, bind, preferred, interleave, weighted), found 'local'" },
	{ "A mempolicy bind", "expected a list of nodes (N,...), found the end of the statement" },
	{ "A mempolicy bind 0,,1", "expected a list of nodes (N,...), found '0,,1'" },
	{ "A mempolicy bind 0,", "expected a list of nodes (N,...), found '0,'" },
	{ "A mempolicy weighted 0", "expected a list of nodes and weights (N:W,...), found '0'" },
	{ "A mempolicy weighted 0:0", "expected a list of nodes and weights (N:W,...), found '0:0'" },
	{ "A mbind r bind 0 moved", "expected move, move_all or strict, found 'moved'" },
	{ "A store r 7", "expected the end of the statement, found '7'" },
	{ "A store r =x", "expected a value =V, found 'x'" },
	{ "A store r =18446744073709551616", "expected a value =V, found '18446744073709551616'" },
	{ "A load r =1", "expected the end of the statement, found '=1'" },
	{ "A pread r", "expected a file, found the region 'r'" },
	{ "A fadvise /d/f willneed", "expected 'dontneed', found 'willneed'" },
	{ "A move_pages r[0] 1", "expected 'to', found '1'" },
	{ "A move_pages r[0] to x", "expected a node, found 'x'" },
	{ "A move_pages r[0] to 1,", "expected a range of a region, found the end of the statement" },
	{ "A move_pages r[0] to 1 all all", "expected the end of the statement, found 'all'" },
	{ "A migrate_pages 0 1", "expected 'to', found '1'" },
	{ "A exchange r B s", "expected 'with', found 'B'" },
	{ "A exchange r with B s fast", "expected async, sync_light or sync, found 'fast'" },
	{ "A split r[0:8:2]", "expected a range without a step, found a step of 2" },
	{ "kernel drop_caches 4", "expected 1, 2 or 3, found '4'" },
	{ "kernel swap", "expected 'on' or 'off', found the end of the statement" },
	{ "kernel balloon 5", "expected +PAGES or -PAGES, found '5'" },
	{ "kernel set x", "expected a value, found the end of the statement" },
	{ "kernel writeback /d/f", "expected 'begin' or 'end', found the end of the statement" },
	{ "@soon A exit", "expected a time (@5, @250us, @1.5ms, @2s), found '@soon'" },
	{ "@0.5ns A exit", "expected a time (@5, @250us, @1.5ms, @2s), found '@0.5ns'" },
	{ "@99999999999999s A exit", "expected a time (@5, @250us, @1.5ms, @2s), found '@99999999999999s'" },
	{ "@5", "expected a statement, found the end of the statement" },
	{ "end", "expected a statement, found 'end' without 'race'" },
	{ "m: A exit", "expected a statement, found 'm:' outside a race" },
	{ "m: machine tiny", "expected a statement of a task or the kernel behind 'm:', found 'machine'" },
	{ "machine", "expected a machine, found the end of the statement" },
	{ "A ex\xfft", "expected UTF-8 text, found other bytes" },
	{ "A ex\x01t", "expected text, found control character 1" },
};

static void every_mistake_has_its_message(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct ps_script *script = parse(mistakes[i].line);
		char *expected = g_strconcat("x.pgs:1: ", mistakes[i].message, NULL);

		if (!script->error)
			fail_msg("'%s' was accepted", mistakes[i].line);
		assert_string_equal(script->error->message, expected);
		assert_int_equal(script->n, 0);
		assert_int_equal(script->error_line, 1);
		g_free(expected);
		ps_script_free(script);
	}
}

static void races_are_closed_and_not_nested(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "race\nm: A exit\n", "x.pgs:2: expected 'end', found the end of the script inside a race" },
		{ "race\nrace\n", "x.pgs:2: expected 'NAME: STATEMENT' or 'end', found 'race' inside a race" },
		{ "race\nA exit\n", "x.pgs:2: expected 'NAME: STATEMENT' or 'end' inside a race, found 'A exit'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ps_script *script = parse(cases[i].text);

		assert_string_equal(script->error->message, cases[i].message);
		ps_script_free(script);
	}
}

/* Expect: statements before the mistake are there, nothing after it. */
static void what_comes_before_a_mistake_counts(void **state)
{
	struct ps_script *script = parse("A start\nA mmap r 8K anon\nA fly\nA exit\n");

	assert_int_equal(script->n, 2);
	assert_string_equal(script->statements[1].name, "r");
	assert_string_equal(script->error->message, "x.pgs:3: expected a verb of a task, found 'fly'");
	assert_string_equal(script->error_text, "A fly");
	ps_script_free(script);
}

static void sizes_and_times_have_units(void **state)
{
	u64 v = 5;

	assert_int_equal(ps_parse_size("4K", &v), 0);
	assert_int_equal(v, 4096);
	assert_int_equal(ps_parse_size("16777215T", &v), 0);
	assert_int_equal(v, 16777215ull << 40);
	assert_int_equal(ps_parse_size("16777216T", &v), -ERANGE);
	assert_int_equal(ps_parse_size("99999999999999999999", &v), -ERANGE);
	assert_int_equal(ps_parse_size("K", &v), -EINVAL);
	assert_int_equal(ps_parse_size("4KB", &v), -EINVAL);
	assert_int_equal(ps_parse_size("", &v), -EINVAL);
	assert_int_equal(v, 16777215ull << 40);
	assert_int_equal(ps_parse_time("7", &v), 0);
	assert_int_equal(v, 7);
	assert_int_equal(ps_parse_time("2.25us", &v), 0);
	assert_int_equal(v, 2250);
	assert_int_equal(ps_parse_time("1.", &v), -EINVAL);
	assert_int_equal(ps_parse_time("1.0000000001s", &v), -EINVAL);
	assert_int_equal(ps_parse_time("-1", &v), -EINVAL);
	assert_int_equal(v, 2250);
}

/* The statements of a script stand in its transcript as they are printed, in their order. Return: whether there is one. */
static bool check_transcript(const char *path, const struct ps_script *script)
{
	GString *out = g_string_new_len(path, (gssize)strlen(path) - 4);
	char *text = NULL;
	const char *at;
	bool found;

	g_string_append(out, ".out");
	found = g_file_get_contents(out->str, &text, NULL, NULL);
	at = text;
	for (u32 i = 0; found && i < script->n; i++) {
		char *line = g_strconcat("\n> ", script->statements[i].text, "\n", NULL);

		at = strstr(at, line);
		if (!at)
			fail_msg("%s:%u: not in the transcript: %s", path, script->statements[i].line, line);
		at += 2;
		g_free(line);
	}
	g_free(text);
	g_string_free(out, true);
	return found;
}

static int check_transcripts(const char *folder)
{
	char *here = g_path_get_dirname(__FILE__);
	char *root = g_build_filename(here, "..", "golden", "linux-6.1", folder, NULL);
	GDir *dir = g_dir_open(root, 0, NULL);
	const char *file;
	int n = 0;

	while (dir && (file = g_dir_read_name(dir))) {
		char *path = g_build_filename(root, file, NULL);

		if (g_str_has_suffix(file, ".pgs")) {
			struct ps_script *script = ps_script_open(path, NULL, NULL);

			assert_non_null(script);
			if (script->error)
				fail_msg("%s", script->error->message);
			n += check_transcript(path, script);
			ps_script_free(script);
		}
		g_free(path);
	}
	if (dir)
		g_dir_close(dir);
	g_free(root);
	g_free(here);
	return n;
}

/* The scripts that were run on a real kernel. Expect: all of them are good, and print as they were printed there. */
static void every_golden_script_parses(void **state)
{
	int golden = check_transcripts("golden"), random = check_transcripts("random");

	/* Run from elsewhere than the build folder, the source's folder is not found. */
	if (!golden && !random)
		skip();
	assert_true(golden >= 40);
	assert_true(random >= 100);
}

static void a_script_is_a_trace_of_statements(void **state)
{
	static const char script[] = "A start # here\n\nA mmap r 8K anon\n";
	int fd = file_of(script, strlen(script)), copy;
	struct ps_trace_writer *w;
	struct ps_trace_reader *r = ps_trace_reader_new(fd, "x.pgs", NULL);
	char *text;

	w = new_writer(&copy, 1, 0);
	assert_true(ps_trace_copy(r, w, NULL));
	finish(w);
	ps_trace_reader_free(r);
	text = text_of(copy, NULL);
	assert_non_null(
		strstr(text, "@0 0 statement line=1 name=A start\n@0 0 statement line=3 name=A mmap r 8K anon\ntotal"));
	g_free(text);
	close(fd);
	close(copy);
}

static void a_script_with_a_mistake_is_a_trace_up_to_it(void **state)
{
	int fd = file_of("A start\nA fly\n", 14);
	char *error, *text = text_of(fd, &error);

	assert_non_null(strstr(text, "name=A start\n"));
	assert_string_equal(error, "scene.pgt:2: expected a verb of a task, found 'fly'");
	g_free(text);
	g_free(error);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_statement_is_parsed_completely),
		cmocka_unit_test(spaces_and_comments_mean_nothing),
		cmocka_unit_test(a_race_is_lines_of_racers),
		cmocka_unit_test(every_mistake_has_its_message),
		cmocka_unit_test(races_are_closed_and_not_nested),
		cmocka_unit_test(what_comes_before_a_mistake_counts),
		cmocka_unit_test(sizes_and_times_have_units),
		cmocka_unit_test(every_golden_script_parses),
		cmocka_unit_test(a_script_is_a_trace_of_statements),
		cmocka_unit_test(a_script_with_a_mistake_is_a_trace_up_to_it),
	};

	return cmocka_run_group_tests_name("trace-text", tests, NULL, NULL);
}
